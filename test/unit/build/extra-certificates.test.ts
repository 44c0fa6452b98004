import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EXIT_CODES } from '../../../src/util/error.ts'
import { projectRoot } from '../../support/postgres/postgres.ts'
import { makeCertificates } from '../../support/stores/tls.ts'

const FILE = '/etc/some certificates.pem'
const scratch = mkdtempSync(join(tmpdir(), 'pgts-extra-'))
const node = join(scratch, 'node')
afterAll(() => rmSync(scratch, { recursive: true }))

// In the place of Node: shows what Node reads when it starts, then starts it with a module that shows what it has at the end.
beforeAll(() => {
  writeFileSync(
    join(scratch, 'show.cjs'),
    `process.on('exit', () => console.log('end', process.env.NODE_EXTRA_CA_CERTS))\n`,
  )
  writeFileSync(
    node,
    `#!/bin/sh
case $1 in -*) option=$1 ;; esac
echo "start \${NODE_EXTRA_CA_CERTS-unset} \${option-none}"
exec '${process.execPath}' --require ${scratch}/show.cjs "$@"
`,
  )
  chmodSync(node, 0o755)
})

async function pgts(args: readonly string[], env: Readonly<Record<string, string>>) {
  const { PATH = '' } = process.env
  const child = spawn(join(projectRoot, 'bin/pgts'), args, { env: { PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, output }
}

describe('what Node reads when it starts', () => {
  async function linesOf(args: string[], env: Record<string, string>): Promise<string[]> {
    const { output } = await pgts(args, { PGTS_NODE: node, ...env })
    return output.split('\n').filter((line) => /^(start|end) /.test(line))
  }

  test.each([[['version']], [['--no-such-option', 'archive-get']]])(
    '%s: no certificates; the processes that pgts starts get NODE_EXTRA_CA_CERTS',
    async (args) => {
      const expected = ['start unset --use-openssl-ca', `end ${FILE}`]
      expect(await linesOf(args, { NODE_EXTRA_CA_CERTS: FILE })).toEqual(expected)
    },
  )

  test('nothing more is set without the variable', async () => {
    expect(await linesOf(['version'], {})).toEqual(['start unset --use-openssl-ca', 'end undefined'])
  })

  test.each([
    ['NODE_OPTIONS, which can choose other certificates', { NODE_OPTIONS: '--use-openssl-ca' }],
    ['a proxy that is reached by TLS', { HTTPS_PROXY: 'HTTPS://proxy:3128' }],
    ['such a proxy in lower case', { https_proxy: 'https://proxy:3128', HTTPS_PROXY: 'http://proxy:3128' }],
  ])('all certificates with %s', async (_, env) => {
    const lines = await linesOf(['version'], { NODE_EXTRA_CA_CERTS: FILE, ...env })
    expect(lines).toEqual([`start ${FILE} none`, `end ${FILE}`])
  })

  test('no certificates with another proxy', async () => {
    const [start] = await linesOf(['version'], { HTTPS_PROXY: 'http://proxy:3128' })
    expect(start).toBe('start unset --use-openssl-ca')
  })
})

describe('which certificates are trusted', () => {
  let server: Server
  let caFile: string
  const tunnels = new Set<Socket>()
  const port = () => (server.address() as AddressInfo).port

  // A store and a proxy to it.
  beforeAll(async () => {
    const made = makeCertificates(join(scratch, 'tls'))
    caFile = made.caFile
    const listing = '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
    server = createServer({ key: readFileSync(made.keyFile), cert: readFileSync(made.certFile) }, (_, response) =>
      response.writeHead(200, { 'content-type': 'application/xml' }).end(listing),
    )
    server.on('connect', (_, client: Socket) => {
      const through = connect(port(), '127.0.0.1', () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n')
        through.pipe(client).pipe(through)
      })
      for (const socket of [client, through]) tunnels.add(socket.on('error', () => undefined))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterAll(() => {
    for (const socket of tunnels) socket.destroy()
    server.close()
  })

  const list = (env: Readonly<Record<string, string>>) =>
    pgts(['--no-config', '--allow-root', '--repo1-type=s3', 'repo-ls'], {
      PGTS_REPO1_S3_ENDPOINT: `localhost:${port()}`,
      PGTS_REPO1_S3_BUCKET: 'bucket',
      PGTS_REPO1_S3_REGION: 'region',
      PGTS_REPO1_S3_URI_STYLE: 'path',
      PGTS_REPO1_S3_KEY: 'key',
      PGTS_REPO1_S3_KEY_SECRET: 'secret',
      ...env,
    })
  const REFUSED = {
    code: EXIT_CODES.service,
    output: expect.stringContaining('an authority that is not trusted') as string,
  }

  test('of a store: those of the option', async () => {
    expect(await list({ PGTS_REPO1_STORAGE_CA_FILE: caFile })).toMatchObject({ code: 0 })
    expect(await list({ PGTS_REPO1_STORAGE_CA_FILE: caFile, NODE_OPTIONS: '--no-deprecation' })).toMatchObject({
      code: 0,
    })
  })

  test('of a store: none of NODE_EXTRA_CA_CERTS and of the variables of OpenSSL', async () => {
    const env = { NODE_EXTRA_CA_CERTS: caFile, SSL_CERT_FILE: caFile, SSL_CERT_DIR: join(scratch, 'tls') }
    expect(await list(env)).toMatchObject(REFUSED)
  })

  test('of a proxy: those of Node and of NODE_EXTRA_CA_CERTS, none of the variables of OpenSSL', async () => {
    const env = { PGTS_REPO1_STORAGE_CA_FILE: caFile, HTTPS_PROXY: `https://localhost:${port()}` }
    expect(await list({ ...env, NODE_EXTRA_CA_CERTS: caFile })).toMatchObject({ code: 0 })
    expect(await list({ ...env, SSL_CERT_FILE: caFile })).toMatchObject(REFUSED)
  })
})
