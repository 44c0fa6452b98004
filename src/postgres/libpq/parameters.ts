/** What pgts does with a connection parameter of libpq when the environment or a service file sets it. */
export type ParameterUse =
  /** It has the effect that it has in libpq. */
  | 'used'
  /** An option of pgts decides instead (`pg1-port`); the value is not read. */
  | 'option'
  /** It has no effect on a Unix-domain socket (TLS), or none on what pgts asks the server. */
  | 'no effect'
  /** Only values that pgts supports are accepted; `refusal` decides which are not. */
  | 'refused'

/** One connection parameter of libpq. */
export interface ParameterRow {
  /** The name in a service file. */
  readonly keyword: string
  /** The environment variable; some parameters have none. */
  readonly variable?: string
  readonly use: ParameterUse
  /** For `option`: the option that decides. For the others: what it does, or why it does nothing. */
  readonly note: string
  /** For `refused`: why this value is not supported; undefined if it is. */
  readonly refusal?: (value: string) => string | undefined
}

const TLS = 'TLS is not used on a Unix-domain socket'
const KERBEROS = 'GSSAPI is not used on a Unix-domain socket'

/** Refuses the value `require` of a feature that pgts does not have. */
const requires = (what: string) => (value: string) => (value === 'require' ? `${what} cannot be used` : undefined)

/**
 * Every connection parameter that libpq 10 to 18 reads from the environment or a service file.
 * @see PostgreSQL, src/interfaces/libpq/fe-connect.c: PQconninfoOptions
 */
export const LIBPQ_PARAMETERS: readonly ParameterRow[] = [
  { keyword: 'service', variable: 'PGSERVICE', use: 'used', note: 'section of the service file to read' },
  { keyword: 'servicefile', variable: 'PGSERVICEFILE', use: 'used', note: 'service file to read' },
  { keyword: 'user', variable: 'PGUSER', use: 'used', note: 'role, unless pg1-user is set' },
  { keyword: 'password', variable: 'PGPASSWORD', use: 'used', note: 'password of the role' },
  { keyword: 'passfile', variable: 'PGPASSFILE', use: 'used', note: 'password file, default ~/.pgpass' },
  { keyword: 'require_auth', variable: 'PGREQUIREAUTH', use: 'used', note: 'authentication methods that are accepted' },
  {
    keyword: 'channel_binding',
    variable: 'PGCHANNELBINDING',
    use: 'refused',
    note: 'channel binding needs TLS',
    refusal: requires('channel binding'),
  },
  { keyword: 'connect_timeout', variable: 'PGCONNECT_TIMEOUT', use: 'used', note: 'seconds, within db-timeout' },
  { keyword: 'dbname', variable: 'PGDATABASE', use: 'option', note: 'pg1-database' },
  { keyword: 'host', variable: 'PGHOST', use: 'option', note: 'pg1-socket-path, else postmaster.pid' },
  { keyword: 'hostaddr', variable: 'PGHOSTADDR', use: 'option', note: 'pg1-socket-path, else postmaster.pid' },
  { keyword: 'port', variable: 'PGPORT', use: 'option', note: 'pg1-port' },
  { keyword: 'client_encoding', variable: 'PGCLIENTENCODING', use: 'no effect', note: 'pgts sets it itself' },
  { keyword: 'options', variable: 'PGOPTIONS', use: 'used', note: 'settings of the session' },
  { keyword: 'application_name', variable: 'PGAPPNAME', use: 'no effect', note: 'pgts names its command' },
  { keyword: 'fallback_application_name', use: 'no effect', note: 'pgts names its command' },
  { keyword: 'keepalives', use: 'no effect', note: 'a Unix-domain socket has none' },
  { keyword: 'keepalives_idle', use: 'no effect', note: 'a Unix-domain socket has none' },
  { keyword: 'keepalives_interval', use: 'no effect', note: 'a Unix-domain socket has none' },
  { keyword: 'keepalives_count', use: 'no effect', note: 'a Unix-domain socket has none' },
  { keyword: 'tcp_user_timeout', use: 'no effect', note: 'a Unix-domain socket has none' },
  { keyword: 'sslnegotiation', variable: 'PGSSLNEGOTIATION', use: 'no effect', note: TLS },
  { keyword: 'sslmode', variable: 'PGSSLMODE', use: 'no effect', note: TLS },
  { keyword: 'requiressl', variable: 'PGREQUIRESSL', use: 'no effect', note: TLS },
  { keyword: 'sslcompression', variable: 'PGSSLCOMPRESSION', use: 'no effect', note: TLS },
  { keyword: 'sslcert', variable: 'PGSSLCERT', use: 'no effect', note: TLS },
  { keyword: 'sslkey', variable: 'PGSSLKEY', use: 'no effect', note: TLS },
  { keyword: 'sslkeylogfile', use: 'no effect', note: TLS },
  { keyword: 'sslcertmode', variable: 'PGSSLCERTMODE', use: 'no effect', note: TLS },
  { keyword: 'sslpassword', use: 'no effect', note: TLS },
  { keyword: 'sslrootcert', variable: 'PGSSLROOTCERT', use: 'no effect', note: TLS },
  { keyword: 'sslcrl', variable: 'PGSSLCRL', use: 'no effect', note: TLS },
  { keyword: 'sslcrldir', variable: 'PGSSLCRLDIR', use: 'no effect', note: TLS },
  { keyword: 'sslsni', variable: 'PGSSLSNI', use: 'no effect', note: TLS },
  { keyword: 'ssl_min_protocol_version', variable: 'PGSSLMINPROTOCOLVERSION', use: 'no effect', note: TLS },
  { keyword: 'ssl_max_protocol_version', variable: 'PGSSLMAXPROTOCOLVERSION', use: 'no effect', note: TLS },
  { keyword: 'requirepeer', variable: 'PGREQUIREPEER', use: 'used', note: 'operating-system user of the server' },
  {
    keyword: 'gssencmode',
    variable: 'PGGSSENCMODE',
    use: 'refused',
    note: KERBEROS,
    refusal: requires('GSSAPI encryption'),
  },
  { keyword: 'krbsrvname', variable: 'PGKRBSRVNAME', use: 'no effect', note: KERBEROS },
  { keyword: 'gsslib', variable: 'PGGSSLIB', use: 'no effect', note: KERBEROS },
  { keyword: 'gssdelegation', variable: 'PGGSSDELEGATION', use: 'no effect', note: KERBEROS },
  {
    keyword: 'target_session_attrs',
    variable: 'PGTARGETSESSIONATTRS',
    use: 'used',
    note: 'primary or standby, read-write or read-only',
  },
  { keyword: 'load_balance_hosts', variable: 'PGLOADBALANCEHOSTS', use: 'no effect', note: 'there is one host' },
  {
    keyword: 'min_protocol_version',
    variable: 'PGMINPROTOCOLVERSION',
    use: 'refused',
    note: 'pgts speaks protocol 3.0',
    refusal: (value) => (value === '3.0' ? undefined : 'pgts speaks protocol 3.0'),
  },
  { keyword: 'max_protocol_version', variable: 'PGMAXPROTOCOLVERSION', use: 'no effect', note: 'pgts speaks 3.0' },
  { keyword: 'scram_client_key', use: 'refused', note: 'set a password', refusal: () => 'pgts needs the password' },
  { keyword: 'scram_server_key', use: 'refused', note: 'set a password', refusal: () => 'pgts needs the password' },
  { keyword: 'oauth_issuer', use: 'refused', note: 'OAuth is not used', refusal: () => 'OAuth cannot be used' },
  { keyword: 'oauth_client_id', use: 'refused', note: 'OAuth is not used', refusal: () => 'OAuth cannot be used' },
  { keyword: 'oauth_client_secret', use: 'refused', note: 'OAuth is not used', refusal: () => 'OAuth cannot be used' },
  { keyword: 'oauth_scope', use: 'refused', note: 'OAuth is not used', refusal: () => 'OAuth cannot be used' },
  {
    keyword: 'replication',
    use: 'refused',
    note: 'pgts uses ordinary connections',
    refusal: (value) => (/^(false|off|no|0)$/.test(value) ? undefined : 'pgts uses ordinary connections'),
  },
]

/** Variables of libpq that are not connection parameters, and why pgts does not need them. */
export const LIBPQ_OTHER_VARIABLES: Readonly<Record<string, string>> = {
  PGDATESTYLE: 'pgts reads no dates as text',
  PGTZ: 'pgts reads no local times from the server',
  PGGEQO: 'pgts sends no large joins',
  PGSYSCONFDIR: 'directory of the system-wide pg_service.conf',
  PGLOCALEDIR: 'messages of libpq',
}
