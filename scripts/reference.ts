// Writes docs/reference from the tables, from the root of the project: node scripts/run.mjs scripts/reference.ts
import { mkdir, writeFile } from 'node:fs/promises'
import { referencePages } from './reference/render.ts'

await mkdir('docs/reference', { recursive: true })
for (const [name, text] of Object.entries(referencePages())) {
  await writeFile(`docs/reference/${name}`, text)
  console.log(`docs/reference/${name}`)
}
