import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { createHash } from 'node:crypto'
import { run } from './shell.ts'

export interface DebOptions {
  /** The repository. */
  readonly root: string
  /** Directory with bin/, dist/, node_modules/ and a runtime. */
  readonly payload: string
  /** Directory for intermediate files. */
  readonly work: string
  readonly version: string
  readonly out: string
}

const MAINTAINER = process.env.PGTS_MAINTAINER ?? 'pgts developers <pgts@localhost>'
const MAINTAINER_SCRIPTS = ['preinst', 'postinst', 'prerm', 'postrm']

/** Build the packages `pgts` and `pgts-pgbackrest`; returns their paths. */
export function buildDebs(options: DebOptions): string[] {
  return [buildProgram(options), buildName(options)]
}

/** The program, with its runtime. */
function buildProgram({ root, payload, work, version, out }: DebOptions): string {
  const tree = join(work, 'deb-pgts')
  const files = join(root, 'scripts/package/files')
  // dpkg replaces and removes files one by one. The maintainer scripts link this directory to one with the build's own name, from
  // which the program runs: see docs/decisions/0034-packages.md.
  const library = join(tree, 'usr/lib/pgts/package')
  mkdirSync(library, { recursive: true })
  for (const name of ['bin', 'dist', 'node_modules'])
    cpSync(join(payload, name), join(library, name), { recursive: true })
  writeFileSync(join(library, 'build-id'), `${version}-${digestOf(library)}\n`)
  mkdirSync(join(tree, 'usr/bin'), { recursive: true })
  symlinkSync('../lib/pgts/current/bin/pgts', join(tree, 'usr/bin/pgts'))

  install(join(files, 'systemd'), join(tree, 'lib/systemd/system'))
  install(join(files, 'pgts.logrotate'), join(tree, 'etc/logrotate.d/pgts'))
  // Not pgts.yaml: that is written by the administrator.
  install(join(files, 'pgts.yaml'), join(tree, 'etc/pgts/pgts.yaml.example'))
  installShare(join(payload, 'share'), join(tree, 'usr/share'))
  const documents = join(tree, 'usr/share/doc/pgts')
  cpSync(join(root, 'docs'), join(documents, 'docs'), { recursive: true })
  cpSync(join(root, 'README.md'), join(documents, 'README.md'))
  writeDocuments(documents, payload, version)
  const texts = readFileSync(join(payload, 'THIRD-PARTY-NOTICES'))
  writeFileSync(join(documents, 'THIRD-PARTY-NOTICES.gz'), gzipSync(texts, { level: 9 }))
  cpSync(join(payload, 'sbom.cdx.json'), join(documents, 'sbom.cdx.json'))

  const control = {
    Package: 'pgts',
    Depends: 'adduser, libc6 (>= 2.28), libstdc++6, libgcc-s1',
    Recommends: 'postgresql-common',
    Suggests: 'pgts-pgbackrest',
    Description: [
      'backup and restore for PostgreSQL, in the repository format of pgBackRest',
      'Full, differential, incremental and block incremental backups, restore to any',
      'point in time, and archiving of WAL, in repositories on disks, S3, Azure Blob',
      'Storage and Google Cloud Storage.',
      '.',
      'pgts lists, verifies, restores and continues what pgBackRest wrote, and',
      'pgBackRest what pgts wrote. The package carries its own Node.js runtime.',
    ],
  }
  return packDeb({
    root,
    tree,
    out,
    version,
    control,
    conffiles: ['/etc/pgts/pgts.yaml.example', '/etc/logrotate.d/pgts'],
  })
}

/** The name `pgbackrest` for clients that call it. */
function buildName({ root, work, payload, version, out }: DebOptions): string {
  const tree = join(work, 'deb-pgts-pgbackrest')
  const files = join(root, 'scripts/package/files')
  mkdirSync(join(tree, 'usr/bin'), { recursive: true })
  symlinkSync('pgts', join(tree, 'usr/bin/pgbackrest'))
  mkdirSync(join(tree, 'usr/share/man/man1'), { recursive: true })
  symlinkSync('pgts.1.gz', join(tree, 'usr/share/man/man1/pgbackrest.1.gz'))
  install(join(files, 'pgbackrest.service'), join(tree, 'lib/systemd/system/pgbackrest.service'))
  install(join(files, 'pgbackrest.logrotate'), join(tree, 'etc/logrotate.d/pgbackrest'))
  install(join(files, 'pgbackrest.conf'), join(tree, 'etc/pgbackrest.conf'))
  writeDocuments(join(tree, 'usr/share/doc/pgts-pgbackrest'), payload, version)
  const control = {
    Package: 'pgts-pgbackrest',
    Depends: `pgts (>= ${version})`,
    Provides: 'pgbackrest',
    Conflicts: 'pgbackrest',
    Replaces: 'pgbackrest',
    Description: [
      'pgts under the name pgbackrest',
      'Provides /usr/bin/pgbackrest, so that clients which drive pgBackRest use pgts',
      'with the configuration, defaults and texts of pgBackRest.',
    ],
  }
  const conffiles = ['/etc/pgbackrest.conf', '/etc/logrotate.d/pgbackrest']
  return packDeb({ root, tree, out, version, control, conffiles })
}

/** Completions as they are, manual pages compressed. */
function installShare(from: string, to: string): void {
  install(from, to)
  const pages = join(to, 'man/man1')
  for (const name of readdirSync(pages)) {
    writeFileSync(join(pages, `${name}.gz`), gzipSync(readFileSync(join(pages, name)), { level: 9 }))
    rmSync(join(pages, name))
  }
}

function install(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to, { recursive: true })
}

function writeDocuments(directory: string, payload: string, version: string): void {
  mkdirSync(directory, { recursive: true })
  const license = readFileSync(join(payload, 'LICENSE'), 'utf8').trim()
  writeFileSync(
    join(directory, 'copyright'),
    `${license}\n\nThird-party code and its licences: /usr/share/doc/pgts/THIRD-PARTY-NOTICES.gz\n`,
  )
  const entry = `pgts (${version}) stable; urgency=medium\n\n  * See NEWS in this directory.\n\n -- ${MAINTAINER}  Thu, 01 Jan 2026 00:00:00 +0000\n`
  writeFileSync(join(directory, 'changelog.gz'), gzipSync(entry, { level: 9 }))
  writeFileSync(join(directory, 'NEWS.gz'), gzipSync(readFileSync(join(payload, 'CHANGELOG.md')), { level: 9 }))
}

interface Control {
  readonly Package: string
  readonly Depends: string
  readonly Description: readonly string[]
  readonly [field: string]: string | readonly string[]
}

interface PackOptions {
  readonly root: string
  readonly tree: string
  readonly out: string
  readonly version: string
  readonly control: Control
  readonly conffiles: readonly string[]
}

function packDeb({ root, tree, out, version, control, conffiles }: PackOptions): string {
  const scripts = join(root, 'scripts/package/debian', control.Package)
  install(join(scripts, 'lintian-overrides'), join(tree, 'usr/share/lintian/overrides', control.Package))
  normaliseModes(tree)
  const files = filesIn(tree).filter((path) => !conffiles.includes(`/${path}`))
  const kibibytes = Math.ceil(files.reduce((sum, path) => sum + statSync(join(tree, path)).size, 0) / 1024)
  const directory = join(tree, 'DEBIAN')
  mkdirSync(directory, { mode: 0o755 })
  const { Description, ...fields } = control
  const lines = Object.entries({
    ...fields,
    Version: version,
    Architecture: 'amd64',
    Section: 'database',
    Priority: 'optional',
    Maintainer: MAINTAINER,
    'Installed-Size': String(kibibytes),
  }).map(([name, value]) => `${name}: ${String(value)}`)
  const description = [`Description: ${Description[0]!}`, ...Description.slice(1).map((line) => ` ${line}`)]
  writeFileSync(join(directory, 'control'), [...lines, ...description, ''].join('\n'))
  writeFileSync(join(directory, 'conffiles'), `${conffiles.join('\n')}\n`)
  writeFileSync(
    join(directory, 'md5sums'),
    files.map((path) => `${digest('md5', readFileSync(join(tree, path)))}  ${path}\n`).join(''),
  )
  for (const name of MAINTAINER_SCRIPTS.filter((script) => existsSync(join(scripts, script)))) {
    cpSync(join(scripts, name), join(directory, name))
    chmodSync(join(directory, name), 0o755)
  }
  const path = join(out, `${control.Package}_${version}_amd64.deb`)
  run('dpkg-deb', ['--root-owner-group', '-Zxz', '-z3', '-b', tree, path])
  return path
}

/** Regular files below a directory, sorted. */
function filesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort()
}

/** 0755 for directories and programs, 0644 for the rest; the configuration of pgts is set up by its maintainer script. */
function normaliseModes(tree: string): void {
  chmodSync(tree, 0o755)
  for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isDirectory()) chmodSync(path, 0o755)
    else if (entry.isFile()) chmodSync(path, /\/bin\/(pgts|node)$/.test(path) ? 0o755 : 0o644)
  }
}

/** Identifies the contents of a build: 12 hexadecimal digits. */
function digestOf(directory: string): string {
  const lines = filesIn(directory).map((path) => `${digest('sha256', readFileSync(join(directory, path)))} ${path}\n`)
  return digest('sha256', Buffer.from(lines.join(''))).slice(0, 12)
}

function digest(algorithm: string, bytes: Uint8Array): string {
  return createHash(algorithm).update(bytes).digest('hex')
}
