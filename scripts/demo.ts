/** `pgts demo` on the embedded server of the tests, so that it needs no installed PostgreSQL. */
import { spawnSync } from 'node:child_process'
import { pgtsProgram, serverBinaries } from '../test/support/postgres/postgres.ts'

const { status } = spawnSync(pgtsProgram(), [`--binaries=${serverBinaries(17)}`, 'demo'], { stdio: 'inherit' })
process.exitCode = status ?? 1
