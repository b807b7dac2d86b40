/**
 * An ordered list of row numbers as bytes: each entry is its difference to the one before (the first to 0), zigzag, in
 * groups of seven bits, low first. Items of one turn have neighbouring rows, so an entry is one or two bytes where an
 * item id is thirty to fifty: the contexts of a 100-turn conversation with 200 items take about 15 KB together.
 *
 * A list is continued by appending the bytes of further rows, encoded after its last row (`before`).
 */
export const encodeRows = (rows: readonly number[], before: number = 0): Uint8Array => {
  const bytes: number[] = []
  let previous = before
  for (const row of rows) {
    const difference = row - previous
    previous = row
    let rest = difference < 0 ? -2 * difference - 1 : 2 * difference
    while (rest >= 128) {
      bytes.push((rest % 128) + 128)
      rest = Math.floor(rest / 128)
    }
    bytes.push(rest)
  }
  return Uint8Array.from(bytes)
}

export const decodeRows = (bytes: Uint8Array): number[] => {
  const rows: number[] = []
  let previous = 0
  let value = 0
  let scale = 1
  for (const byte of bytes) {
    value += (byte % 128) * scale
    scale *= 128
    if (byte >= 128) continue
    previous += value % 2 === 1 ? -(value + 1) / 2 : value / 2
    rows.push(previous)
    value = 0
    scale = 1
  }
  return rows
}
