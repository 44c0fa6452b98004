/** A list that makes its items when they are read; every array is one, too. */
export interface LazyList<T> extends Iterable<T> {
  readonly length: number
  at(index: number): T | undefined
}

/** The items of a list, made one by one. */
export function* itemsOf<T>(list: LazyList<T>): Generator<T> {
  for (let index = 0; index < list.length; index++) yield list.at(index)!
}

/** A list whose items are made by a function of their index. */
export function lazyList<T>(length: number, make: (index: number) => T): LazyList<T> {
  const list: LazyList<T> = {
    length,
    at: (index) => (index < length ? make(index) : undefined),
    [Symbol.iterator]: () => itemsOf(list),
  }
  return list
}
