import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { validate } from 'dockerfile-utils'
import { describe, expect, test } from 'vitest'
import { resolveOptions } from '../../src/config/resolve.ts'
import { makeTestDir, projectRoot } from '../support/processes/test-user.ts'
import { yamlDocuments } from '../support/run/doc-blocks.ts'

// The manifests of the guide, without a cluster: each is valid for the API, and every command in them is valid with the
// configuration that its pod mounts.

interface PodContainer {
  readonly name: string
  readonly image: string
  readonly args?: readonly string[]
  readonly livenessProbe?: { readonly exec: { readonly command: readonly string[] } }
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
  readonly securityContext: Readonly<Record<string, unknown>>
}

interface Pod {
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly containers: readonly PodContainer[]
  readonly volumes: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[]
}

interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly data?: Readonly<Record<string, string>>
  readonly spec?: {
    readonly template?: { readonly spec: Pod }
    readonly jobTemplate?: { readonly spec: { readonly template: { readonly spec: Pod } } }
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[]
  }
}

const manifests = (yamlDocuments('docs/guide/kubernetes.md') as Manifest[]).filter(({ kind }) => kind !== undefined)
const named = manifests.map((manifest) => ({ name: `${manifest.kind} ${manifest.metadata.name}`, manifest }))
const podOf = ({ spec }: Manifest) => spec?.template?.spec ?? spec?.jobTemplate?.spec.template.spec
const pods = named.flatMap(({ name, manifest }) => {
  const pod = podOf(manifest)
  return pod === undefined ? [] : [{ name, manifest, pod }]
})

/**
 * Compile manifests as values of the types of the API: an unknown field, a wrong type and a missing field are errors.
 *
 * @returns the messages, each with the name of its manifests
 */
function errorsIn(groups: Readonly<Record<string, readonly Manifest[]>>): string[] {
  // Below node_modules, so that the types are found.
  const cache = join(projectRoot, 'node_modules/.pgts')
  mkdirSync(cache, { recursive: true })
  const dir = mkdtempSync(join(cache, 'manifests-'))
  for (const [name, documents] of Object.entries(groups)) writeFileSync(join(dir, `${name}.ts`), asSource(documents))
  const strictly = { strict: true, noEmit: true, skipLibCheck: true, lib: ['es2022'], types: [] }
  const compilerOptions = { ...strictly, module: 'esnext', moduleResolution: 'bundler' }
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
  const { stdout } = spawnSync(join(projectRoot, 'node_modules/.bin/tsc'), ['-p', '.'], { cwd: dir, encoding: 'utf8' })
  rmSync(dir, { recursive: true })
  return stdout.split('\n').filter((line) => line !== '')
}

function asSource(documents: readonly Manifest[]): string {
  const statements = documents.map(
    (document, index) =>
      `import type { ${document.kind} as T${index} } from 'kubernetes-types/${moduleOf(document.apiVersion)}'\n` +
      `export const m${index}: T${index} = ${JSON.stringify(document)}\n`,
  )
  return statements.join('')
}

/** Variables of the Secret. */
const SECRET = { PGTS_REPO1_S3_KEY: 'key', PGTS_REPO1_S3_KEY_SECRET: 'secret' }

/** Arguments of every call of pgts: by the entry point, in archive_command, and to see whether it lives. */
function commandsOf({ image, args = [], livenessProbe }: PodContainer): string[][] {
  const probes = livenessProbe === undefined ? [] : [livenessProbe.exec.command.slice(1)]
  if (image.startsWith('pgts:')) return [[...args], ...probes]
  return args.flatMap((arg) => {
    const command = /^archive_command=pgts (.*) %p$/.exec(arg)?.[1]
    return command === undefined ? [] : [[...command.split(' '), 'pg_wal/000000010000000000000001']]
  })
}

/** `v1` is the group core, and `rbac.authorization.k8s.io/v1` is in the module rbac. */
const moduleOf = (apiVersion: string) =>
  apiVersion.includes('/') ? apiVersion.replace(/\.[^/]*/, '') : `core/${apiVersion}`

test('the manifests are valid for the API, and a wrong field would be found', () => {
  const misspelled = JSON.parse(JSON.stringify(manifests).replaceAll('"mountPath"', '"mountpath"')) as Manifest[]
  const errors = errorsIn({ manifests, misspelled })
  expect(errors.length).toBeGreaterThan(0)
  for (const error of errors)
    expect(error).toMatch(/^misspelled\.ts.*'"mountpath"' does not exist in type 'VolumeMount'/)
}, 120_000)

test('the Dockerfile is valid, and a wrong flag would be found', () => {
  const text = readFileSync(join(projectRoot, 'Dockerfile'), 'utf8')
  expect(validate(text)).toEqual([])
  expect(validate(text.replace('COPY .', 'COPY --form=build .'))).toHaveLength(1)
})

test('the guide has a database, a backup and a restore', () => {
  expect(named.map(({ name }) => name)).toEqual([
    'ConfigMap db-pgts',
    'Service db',
    'StatefulSet db',
    'ConfigMap db-pgts-backup',
    'CronJob db-backup-full',
    'Job db-restore',
  ])
})

describe.each(pods)('$name', ({ manifest, pod }) => {
  test('runs with the least privileges', () => {
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 999, runAsGroup: 999, fsGroup: 999 })
    for (const { securityContext } of pod.containers)
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
  })

  test('mounts volumes that it has', () => {
    const claims = manifest.spec?.volumeClaimTemplates?.map(({ metadata }) => metadata.name) ?? []
    const volumes = [...pod.volumes.map(({ name }) => name), ...claims]
    for (const { volumeMounts } of pod.containers)
      for (const { name } of volumeMounts) expect(volumes, name).toContain(name)
  })

  test('has commands that are valid with its configuration', async () => {
    const map = pod.volumes.find(({ name }) => name === 'config')?.configMap?.name
    const config = join(makeTestDir('kubernetes'), 'pgts.yaml')
    writeFileSync(
      config,
      manifests.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === map)!.data!['pgts.yaml']!,
    )
    const commands = pod.containers.flatMap(commandsOf)
    expect(commands.length).toBeGreaterThan(0)
    for (const command of commands) {
      const argv = [`--config=${config}`, ...command]
      const { warnings } = await resolveOptions({ argv, env: SECRET, program: '/usr/bin/pgts', uid: 999 })
      expect(warnings).toEqual([])
    }
  })
})
