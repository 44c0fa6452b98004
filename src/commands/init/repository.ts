import { randomBytes } from 'node:crypto'
import type { NewSetting } from '../../config/change/change.ts'
import type { CommandContext } from '../context.ts'
import type { GivenOptions } from './given.ts'
import type { Questions } from './questions.ts'

/** Settings of a new repository 1, and the directories on this host that they need. */
export interface ProposedRepository {
  readonly type: string
  readonly settings: readonly NewSetting[]
  /** The repository itself, if it is on a disk. */
  readonly directory?: string
  /** The passphrase was generated: the only copy is in the configuration. */
  readonly hasNewPassphrase: boolean
  readonly isAsync: boolean
}

type Asked = readonly (readonly [rest: string, value: string | number])[]

/** Asks for the repository, or takes its options. */
export async function askRepository(
  ctx: CommandContext<'init'>,
  questions: Questions,
  given: GivenOptions,
): Promise<ProposedRepository> {
  const type = await questions.choice({
    flag: '--repo1-type',
    text: 'Repository',
    choices: ['posix', 's3', 'azure', 'gcs'],
    given: given.repo('type'),
    proposal: 'posix',
  })
  const path = await questions.text({
    flag: '--repo1-path',
    text: type === 'posix' ? 'Directory of the repository' : 'Path in the bucket',
    given: given.repo('path'),
    proposal: ctx.dialect === 'ini' ? '/var/lib/pgbackrest' : type === 'posix' ? '/var/lib/pgts' : '/pgts',
    problem: (typed) => (typed.startsWith('/') ? undefined : 'the path must begin with /'),
  })
  const store = await askStore(type, questions, given)
  const retention = await questions.text({
    flag: '--repo1-retention-full',
    text: 'Full backups to keep',
    given: given.repo('retention-full'),
    proposal: '2',
    problem: (typed) => (/^[1-9]\d{0,6}$/.test(typed) ? undefined : 'enter a number from 1'),
  })
  const cipher = await askCipher(questions, given)
  const asked: Asked = [
    ...(type === 'posix' ? [] : [['type', type] as const]),
    ['path', path],
    ...store,
    ['retention-full', Number(retention)],
    ...cipher.settings,
  ]
  const names = new Set(asked.map(([rest]) => rest))
  const others = [...given.all()].filter(([rest]) => !names.has(rest) && !DEFAULTED.has(rest))
  const isAsync = ctx.isSet('archive-async') ? ctx.options.archiveAsync === true : type !== 'posix'
  return {
    type,
    settings: [
      ...[...asked, ...others].map(([rest, value]) => ({ option: `repo-${rest}`, key: 1, value })),
      ...(isAsync ? [{ option: 'archive-async', key: 0, value: true }] : []),
    ],
    directory: type === 'posix' ? path : undefined,
    hasNewPassphrase: cipher.generated,
    isAsync,
  }
}

/** Written only if they are not the default. */
const DEFAULTED: ReadonlySet<string> = new Set(['type', 'cipher-type'])

async function askStore(type: string, questions: Questions, given: GivenOptions): Promise<Asked> {
  const text = async (rest: string, words: string, proposal?: string) =>
    [rest, await questions.text({ flag: `--repo1-${rest}`, text: words, given: given.repo(rest), proposal })] as const
  const secret = async (rest: string, words: string) =>
    [rest, await questions.secret({ flag: secretFlag(rest), text: words, given: given.repo(rest) })] as const
  const choice = async (rest: string, words: string, choices: readonly string[]) =>
    [
      rest,
      await questions.choice({
        flag: `--repo1-${rest}`,
        text: words,
        choices,
        given: given.repo(rest),
        proposal: choices[0],
      }),
    ] as const

  if (type === 's3') {
    const bucket = await text('s3-bucket', 'Bucket')
    const region = await text('s3-region', 'Region', 'us-east-1')
    const endpoint = await text('s3-endpoint', 'Endpoint', `s3.${region[1]}.amazonaws.com`)
    const style = await choice('s3-uri-style', 'Bucket in the name of the host or in the path', ['host', 'path'])
    const keyType = await choice('s3-key-type', 'Credentials: a key, or those of the instance', [
      'shared',
      'auto',
      'web-id',
      'pod-id',
      'process',
    ])
    const keys =
      keyType[1] === 'shared'
        ? [await secret('s3-key', 'Access key'), await secret('s3-key-secret', 'Secret access key')]
        : []
    return [bucket, endpoint, region, style, keyType, ...keys]
  }
  if (type === 'azure') {
    const container = await text('azure-container', 'Container')
    const account = ['azure-account', await questions.text(azureAccount(given))] as const
    const keyType = await choice('azure-key-type', 'Credentials', ['shared', 'sas', 'auto'])
    const keys = keyType[1] === 'auto' ? [] : [await secret('azure-key', 'Shared key or signature (SAS)')]
    return [container, account, keyType, ...keys]
  }
  if (type === 'gcs') {
    const bucket = await text('gcs-bucket', 'Bucket')
    const keyType = await choice('gcs-key-type', 'Credentials', ['service', 'auto', 'token'])
    const keys =
      keyType[1] === 'service'
        ? [await text('gcs-key', 'Key file of the service account')]
        : keyType[1] === 'token'
          ? [await secret('gcs-key', 'Token')]
          : []
    return [bucket, keyType, ...keys]
  }
  return []
}

/** The account is a secret option, as pgbackrest defines it, but its name may be shown. */
function azureAccount(given: GivenOptions) {
  return { flag: secretFlag('azure-account'), text: 'Storage account', given: given.repo('azure-account') }
}

/** Where a secret can be given: not on the command line. */
function secretFlag(rest: string): string {
  return `PGTS_REPO1_${rest.toUpperCase().replaceAll('-', '_')} (environment) or --init-secrets`
}

async function askCipher(
  questions: Questions,
  given: GivenOptions,
): Promise<{ readonly settings: Asked; readonly generated: boolean }> {
  const type = await questions.choice({
    flag: '--repo1-cipher-type',
    text: 'Encryption',
    choices: ['none', 'aes-256-cbc'],
    given: given.repo('cipher-type'),
    proposal: 'none',
  })
  if (type === 'none') return { settings: [], generated: false }
  const passphrase = given.repo('cipher-pass')
  // 48 characters of base64: longer than the key that is derived from them.
  const value = passphrase ?? randomBytes(36).toString('base64')
  return {
    settings: [
      ['cipher-type', type],
      ['cipher-pass', value],
    ],
    generated: passphrase === undefined,
  }
}
