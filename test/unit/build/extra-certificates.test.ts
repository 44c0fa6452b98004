import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { proxyOf } from '../../../src/cli/http-access.ts'
import { projectRoot } from '../../support/postgres/postgres.ts'

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
    `#!/bin/sh\necho "start \${NODE_EXTRA_CA_CERTS-unset}"\nexec '${process.execPath}' --require ${scratch}/show.cjs "$@"\n`,
  )
  chmodSync(node, 0o755)
})

function linesOf(args: string[], env: Record<string, string>): string[] {
  const { PATH = '' } = process.env
  const { stdout } = spawnSync(join(projectRoot, 'bin/pgts'), args, {
    env: { PATH, PGTS_NODE: node, ...env },
    encoding: 'utf8',
  })
  return stdout.split('\n').filter((line) => /^(start|end) /.test(line))
}

test.each([[['version']], [['--no-such-option', 'archive-get']]])(
  '%s: Node starts without NODE_EXTRA_CA_CERTS, and the processes that pgts starts get it',
  (args) => {
    expect(linesOf(args, { NODE_EXTRA_CA_CERTS: FILE })).toEqual(['start unset', `end ${FILE}`])
  },
)

test('without the variable nothing is set', () => {
  expect(linesOf(['version'], {})).toEqual(['start unset', 'end undefined'])
})

test('with NODE_OPTIONS, which can choose other certificates, Node reads the file', () => {
  const env = { NODE_EXTRA_CA_CERTS: FILE, NODE_OPTIONS: '--use-openssl-ca' }
  expect(linesOf(['version'], env)).toEqual([`start ${FILE}`, `end ${FILE}`])
})

test('a proxy is trusted by the certificates in the file, unless Node has read it', () => {
  const env = { HTTPS_PROXY: 'https://proxy:3128', NODE_EXTRA_CA_CERTS: FILE }
  expect(proxyOf(env)).toEqual({ url: 'https://proxy:3128', exceptions: '', extraCaFile: FILE })
  expect(proxyOf({ ...env, NODE_OPTIONS: '--use-openssl-ca' })).toEqual({ url: 'https://proxy:3128', exceptions: '' })
})
