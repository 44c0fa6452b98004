/** A situation in which an operator needs the next command. */
export interface HelpTopic {
  readonly title: string
  /** At most 80 columns; command lines are indented by two. */
  readonly text: string
}

/** The topics of `pgts help TOPIC`. A test parses every command line in them. */
export const helpTopics: Readonly<Record<string, HelpTopic>> = {
  'lost-server': {
    title: 'I lost the server',
    text: `Install PostgreSQL (the same major version) and pgts on a new machine, and copy
the configuration of pgts, with the passphrase if the repository is encrypted.

1. Check that the repository can be read, and what it has:
  pgts info
2. Check the restore without changing anything:
  pgts --stanza=main --dry-run restore
3. Restore into the empty data directory, as the user of PostgreSQL. With
   archive-mode=preserve the new machine archives in place of the lost one;
   without it, see 'pgts help archive-allow':
  pgts --stanza=main --archive-mode=preserve restore
4. Start PostgreSQL. It replays the archived WAL; its log shows the progress.
5. Take a full backup:
  pgts --stanza=main --type=full backup
`,
  },
  'dropped-table': {
    title: 'I dropped a table',
    text: `Find the time just before the mistake. Restore a copy beside production, and
copy the table back; production keeps running.

1. Let the last segment be archived, in psql: select pg_switch_wal();
2. Restore a copy that cannot archive:
  pgts --stanza=main --pg1-path=/srv/copy --archive-mode=off \\
    --type=time --target='2026-11-22 14:30+00' --target-action=promote restore
   If the cluster has tablespaces, add --tablespace-map-all=/srv/tablespaces.
3. Start it on another port (pg_ctl -D /srv/copy -o '-p 5433' start). Recovery
   ends at the target; if it only paused there, the lock of the DROP would block
   pg_dump. Too late or too early: stop it and restore again with --delta and
   another --target.
4. Copy the table: pg_dump -p 5433 -t TABLE | psql
5. Stop the copy and remove its directory.
`,
  },
  'disk-full': {
    title: 'The disk is full of WAL',
    text: `PostgreSQL keeps WAL until archive_command succeeds. Never delete files in
pg_wal by hand: the cluster may not start again.

1. See why WAL is not archived, and what to change:
  pgts --stanza=main archive-status
2. Fix the cause. The archiver tries again within a minute.
3. If the server is down because the disk is full, free space on that disk, or
   move pg_wal to a larger one with a symbolic link, and start the server.
4. If the archive cannot be reached soon and the server must run, let pgts drop
   WAL above a limit. This leaves a gap in the archive, so take a full backup
   afterwards. In the configuration: archive-push-queue-max=50GiB
5. Check that archiving works again:
  pgts --stanza=main check
Replication slots keep WAL, too: select slot_name, active, restart_lsn from
pg_replication_slots;
`,
  },
  'archive-command': {
    title: 'archive_command fails',
    text: `The log of PostgreSQL shows the error of pgts, with a hint for the next step.

1. See the state of archiving and the likely cause:
  pgts --stanza=main archive-status
2. After a fix, test the whole way with one segment:
  pgts --stanza=main check
Frequent causes:
- [103] or [055]: the stanza does not exist in the repository:
  pgts --stanza=main stanza-create
- [062]: an operator has stopped the stanza:
  pgts --stanza=main start
- [044] 'is a copy': this cluster was restored. If it replaces the original:
  pgts --stanza=main archive-allow
- [045]: another cluster archived a segment of this name: find the copy that
  archives into this stanza, before anything else.
`,
  },
  'from-pgbackrest': {
    title: 'Moving from pgBackRest',
    text: `pgts reads the configuration and the repository of pgBackRest unchanged. Both
programs can be used on one repository, and both restore what the other wrote.

1. Look at the existing repository:
  pgts --config=/etc/pgbackrest/pgbackrest.conf info
2. Check restores without changing anything:
  pgts --config=/etc/pgbackrest/pgbackrest.conf --stanza=main verify
3. Take a backup with pgts:
  pgts --config=/etc/pgbackrest/pgbackrest.conf --stanza=main backup
4. Change archive_command, and reload PostgreSQL:
   pgts --config=/etc/pgbackrest/pgbackrest.conf --stanza=main archive-push %p
   or let a link named pgbackrest point to pgts: options, defaults and texts are
   then those of pgbackrest.
5. Check it:
  pgts --config=/etc/pgbackrest/pgbackrest.conf --stanza=main check
Options that pgts refuses are listed in docs/reference/options.md.
`,
  },
}

export function topicHelp(name: string): string | undefined {
  if (!Object.hasOwn(helpTopics, name)) return undefined
  const topic = helpTopics[name]!
  return `${topic.title}\n\n${topic.text}`
}
