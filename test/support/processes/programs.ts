/** pgbackrest to test against: the installed one, or a newer one given by hand. */
export const PGBACKREST = process.env['PGTS_TEST_PGBACKREST'] ?? 'pgbackrest'
