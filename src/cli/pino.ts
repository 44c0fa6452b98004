/** An entry of its own in the build, because the logger loads it synchronously and only when it writes a record. */
export { pino } from 'pino'
