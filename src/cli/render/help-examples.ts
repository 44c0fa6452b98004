import type { CommandName } from '../../config/command-table.ts'

/** Command lines that `pgts help COMMAND` shows. A test parses each. */
export const helpExamples: { readonly [C in CommandName]?: readonly string[] } = {
  annotate: ['pgts --stanza=main --set=LABEL --annotation=reason=release annotate'],
  'archive-allow': ['pgts --stanza=main archive-allow'],
  'archive-get': ['pgts --stanza=main archive-get %f "%p"'],
  'archive-push': ['pgts --stanza=main archive-push %p'],
  'archive-status': ['pgts --stanza=main archive-status'],
  backup: ['pgts --stanza=main backup', 'pgts --stanza=main --type=full --start-fast backup'],
  check: ['pgts --stanza=main check'],
  completion: ['pgts completion bash'],
  doctor: ['pgts doctor', 'pgts --stanza=main --output=json doctor'],
  drill: ['pgts --stanza=main drill', 'pgts --stanza=main --random --sql=checks.sql --output=text drill'],
  expire: ['pgts --stanza=main --explain expire', 'pgts --stanza=main expire'],
  info: ['pgts info', 'pgts --stanza=main --output=json info'],
  lease: ['pgts --stanza=main lease', 'pgts --stanza=main --break lease'],
  pin: ['pgts --stanza=main --until=2027-01-31 --reason=audit pin LABEL'],
  'repo-get': ['pgts --repo=1 repo-get archive/main/archive.info'],
  'repo-ls': ['pgts --repo=1 --recurse repo-ls backup/main'],
  restore: [
    'pgts --stanza=main --dry-run restore',
    'pgts --stanza=main --delta restore',
    "pgts --stanza=main --delta --type=time --target='2026-11-22 14:30+00' restore",
  ],
  'stanza-create': ['pgts --stanza=main stanza-create'],
  'stanza-delete': ['pgts --stanza=main stop', 'pgts --stanza=main --repo=1 stanza-delete'],
  'stanza-upgrade': ['pgts --stanza=main stanza-upgrade'],
  start: ['pgts --stanza=main start'],
  stop: ['pgts --stanza=main stop'],
  unpin: ['pgts --stanza=main unpin LABEL'],
  verify: ['pgts --stanza=main verify', 'pgts --stanza=main --set=LABEL --output=text verify'],
}
