/** pgbackrest to test against: the installed one, or a newer one given by hand. */
export const PGBACKREST = process.env['PGTS_TEST_PGBACKREST'] ?? 'pgbackrest'

/** Programs of the Debian package postgresql-15; Patroni needs pg_rewind, which the embedded servers lack. */
export const PATRONI_POSTGRES = '/usr/lib/postgresql/15/bin'
export const PATRONI_PROGRAMS = ['patroni', 'etcd', `${PATRONI_POSTGRES}/pg_rewind`]
