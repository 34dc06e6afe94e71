/**
 * Numbers pairs of small whole numbers from 0 in the order in which they are met, for some hundred thousand of them: 20 to
 * 30 bytes a pair where a map within a map takes a hundred.
 */
export interface PairSlots {
  readonly size: number
  /** @returns the number of the pair; −1 where it was never met */
  find(first: number, second: number): number
  /** @returns the number of the pair, a new one where it was never met */
  slotOf(first: number, second: number): number
  firstOf(slot: number): number
  secondOf(slot: number): number
  /** The numbers of all pairs that begin with `first`, the newest of them first. */
  withFirst(first: number): Iterable<number>
}

const FEWEST = 1_024

export function pairSlots(): PairSlots {
  let size = 0
  let firsts = new Int32Array(FEWEST)
  let seconds = new Int32Array(FEWEST)
  let others = new Int32Array(FEWEST) // of the same first: the one met before, −1 for none
  let newest = new Int32Array(FEWEST).fill(-1) // by first
  let table = new Int32Array(FEWEST * 2).fill(-1) // at least half of it free

  /** Where the pair stands in the table, or would. */
  function placeOf(first: number, second: number): number {
    const mask = table.length - 1
    let place = hash(first, second) & mask
    for (;;) {
      const slot = table[place] as number
      if (slot < 0 || (firsts[slot] === first && seconds[slot] === second)) return place
      place = (place + 1) & mask
    }
  }

  function grow(): void {
    firsts = doubled(firsts)
    seconds = doubled(seconds)
    others = doubled(others)
    table = new Int32Array(table.length * 2).fill(-1)
    for (let slot = 0; slot < size; slot++) table[placeOf(firsts[slot] as number, seconds[slot] as number)] = slot
  }

  function add(first: number, second: number): number {
    if (size === firsts.length) grow()
    while (first >= newest.length) newest = doubled(newest, -1)
    const slot = size++
    table[placeOf(first, second)] = slot
    firsts[slot] = first
    seconds[slot] = second
    others[slot] = newest[first] as number
    newest[first] = slot
    return slot
  }

  const find = (first: number, second: number) => table[placeOf(first, second)] as number

  return {
    get size() {
      return size
    },
    find,
    slotOf(first, second) {
      const slot = find(first, second)
      return slot < 0 ? add(first, second) : slot
    },
    firstOf: (slot) => firsts[slot] as number,
    secondOf: (slot) => seconds[slot] as number,
    *withFirst(first) {
      for (let slot = newest[first] ?? -1; slot >= 0; slot = others[slot] as number) yield slot
    },
  }
}

function hash(first: number, second: number): number {
  let mixed = Math.imul(first, 0x9e3779b1) ^ Math.imul(second, 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
  return mixed ^ (mixed >>> 13)
}

function doubled(block: Int32Array, fill = 0): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(block.length * 2).fill(fill)
  larger.set(block)
  return larger
}
