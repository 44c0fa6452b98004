import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { storageDescription } from '../../src/cli/repository.ts'
import { resolveOptions } from '../../src/config/resolve.ts'
import { makeTestDir, projectRoot } from '../support/processes/test-user.ts'

// Docker is not installed where the tests run. Without it these are checked: the file can be parsed, and every command and
// setting of pgts in it exists.

interface Service {
  readonly image?: string
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>
  readonly volumes?: readonly string[]
  readonly configs?: readonly { source: string; target: string }[]
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, null>>
  readonly configs: Readonly<Record<string, { content: string }>>
}

const compose = parse(readFileSync(join(projectRoot, 'docker-compose.yml'), 'utf8'), { merge: true }) as Compose
const services = Object.entries(compose.services)

test('every referenced volume, service and file of the compose file is defined', () => {
  for (const [name, { image = '', depends_on: needs = {}, volumes = [], configs = [] }] of services) {
    expect(image, name).toMatch(/^pgts-site$|:v?\d+\.\d+/)
    for (const other of Array.isArray(needs) ? needs : Object.keys(needs))
      expect(compose.services).toHaveProperty(other)
    for (const volume of volumes) expect(compose.volumes).toHaveProperty(volume.split(':')[0] ?? '')
    for (const { source } of configs) expect(compose.configs).toHaveProperty(source)
  }
})

test('every pgts command in the compose file is valid with its settings', async () => {
  const config = join(makeTestDir('compose'), 'pgts.yaml')
  writeFileSync(config, compose.configs['pgts']?.content ?? '')
  const commands: string[] = []
  for (const [, { command = [], environment = {} }] of services) {
    const calls = command.join('\n').matchAll(/\bpgts ((?:--\S+ )*)([a-z-]+)(?: (%p))?/g)
    for (const [, options = '', name = '', operand] of calls) {
      const argv = [
        `--config=${config}`,
        ...options.trim().split(' '),
        name,
        ...(operand === undefined ? [] : ['pg_wal/x']),
      ]
      const resolved = await resolveOptions({ argv, env: environment, program: '/usr/local/bin/pgts', uid: 1 })
      expect(resolved.command).toBe(name)
      const [repo] = resolved.options.repo
      expect(repo && storageDescription(repo, resolved, environment)).toMatchObject({
        kind: 's3',
        path: '/pgts',
        s3: { bucket: 'site-backups', endpoint: { secure: false, host: 's3', port: 7070 }, keys: { type: 'shared' } },
      })
      commands.push(name)
    }
  }
  expect(commands.sort()).toEqual(['archive-push', 'backup', 'check', 'stanza-create'])
})

test('keys and bucket of the compose file are those of its S3 server', () => {
  const { s3, db, backup, bucket } = compose.services
  for (const service of [db, backup]) {
    expect(service?.environment?.['PGTS_REPO1_S3_KEY']).toBe(s3?.environment?.['ROOT_ACCESS_KEY_ID'])
    expect(service?.environment?.['PGTS_REPO1_S3_KEY_SECRET']).toBe(s3?.environment?.['ROOT_SECRET_ACCESS_KEY'])
  }
  expect(bucket?.command?.join('')).toContain('http://s3:7070/site-backups)')
})
