/** A type whose members can be assigned: for an object that is built step by step. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] }
