/** The only argument of a process that serves one connection of `pgts server`. */
export const CONNECTION_ARGUMENT = 'server:connection'
