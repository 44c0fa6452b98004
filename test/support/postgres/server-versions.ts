/** Servers that come as embedded packages, `pg10` to `pg18`. */
export const SERVER_VERSIONS = [10, 11, 12, 13, 14, 15, 16, 17, 18] as const
export type ServerVersion = (typeof SERVER_VERSIONS)[number]

/** Variable with the directory of the template clusters of this test run; without it every cluster is made by initdb. */
export const TEMPLATES = 'PGTS_TEST_TEMPLATES'
