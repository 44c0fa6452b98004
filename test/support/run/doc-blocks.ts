import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { projectRoot } from '../processes/test-user.ts'

/** Commands of the documentation: the `sh` blocks of a section; without a heading, of the whole file. */
export function shellBlocks(file: string, heading?: string): string[] {
  return blocks('sh', file, heading)
}

/** All documents in the `yaml` blocks of a section. */
export function yamlDocuments(file: string, heading?: string): unknown[] {
  return blocks('yaml', file, heading).flatMap((block) =>
    parseAllDocuments(block).map((document): unknown => {
      if (document.errors[0] !== undefined) throw document.errors[0]
      return document.toJS()
    }),
  )
}

/**
 * @param file from the root of the project
 * @param heading its text, without `#`; absent: the whole file
 */
function blocks(language: string, file: string, heading?: string): string[] {
  let text = readFileSync(join(projectRoot, file), 'utf8')
  if (heading !== undefined) {
    const start = text.indexOf(`\n## ${heading}\n`)
    if (start === -1) throw new Error(`${file} has no section '${heading}'`)
    const end = text.indexOf('\n## ', start + 1)
    text = text.slice(start, end === -1 ? undefined : end)
  }
  return [...text.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([^]*?)^ *\`\`\`$`, 'gm'))].map((match) =>
    match[2]!.replaceAll(new RegExp(`^${match[1]}`, 'gm'), ''),
  )
}
