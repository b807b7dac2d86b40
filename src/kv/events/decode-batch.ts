/**
 * One published batch of vLLM or SGLang -> calls on a sink.
 *
 *   batch   [ts, events, rank?]  or  {ts, events, data_parallel_rank?}
 *   event   {type: "BlockStored", block_hashes, ...}  or  ["BlockStored", block_hashes, ...] in the order of `POSITIONS`
 *   hash    an unsigned or signed 64-bit integer, or bytes, of which the last eight count
 *
 * vLLM 0.32 and SGLang 0.5.23 publish array batches of maps and leave defaults out, SGLang with signed hashes and fewer fields;
 * earlier versions publish positional arrays. Values go straight into reused typed arrays: 0.5 us an event of 16 tokens, a third of
 * what a general decoder takes (bench/records). Events of an unknown type, and fields nobody knows, are passed over;
 * types are counted. A batch that cannot be read throws MalformedEvents; events before the fault have been told.
 */
import { knownWords, MalformedEvents, MsgpackCursor } from './msgpack-cursor.ts'
import type { EventSink, StoredBlocks, Tier } from './kv-event.ts'

export class BatchDecoder {
  /** Events of a type that nobody knows. */
  unknown = 0
  events = 0
  readonly #cursor = new MsgpackCursor()
  readonly #extras: number[] = []
  readonly #names: number[] = []
  #type: EventType = 'unknown'
  readonly #event: StoredBlocks = {
    hashes: new Uint32Array(2 * 64),
    blocks: 0,
    hasParent: false,
    parentLow: 0,
    parentHigh: 0,
    tokens: new Uint32Array(1024),
    tokenCount: 0,
    blockTokens: 0,
    tier: 0,
    group: null,
    attention: null,
    extras: this.#extras,
    names: this.#names,
    payload: new Uint8Array(0),
  }

  /** Returns the time of the batch as the publisher's clock has it, in seconds; NaN where it is missing. */
  decode(payload: Buffer, sink: EventSink): number {
    const cursor = this.#cursor
    cursor.reset(payload)
    this.#event.payload = payload
    let seconds = Number.NaN
    if (cursor.isMap()) {
      for (let left = cursor.mapLength(); left > 0; left--) {
        const key = cursor.text()
        if (key === 'events') this.#events(sink)
        else if (key === 'ts') seconds = cursor.number()
        else cursor.skip()
      }
    } else {
      const length = cursor.arrayLength()
      if (length < 2) throw new MalformedEvents('a batch of less than two fields')
      seconds = cursor.number()
      this.#events(sink)
      for (let left = length - 2; left > 0; left--) cursor.skip()
    }
    if (!cursor.done) throw new MalformedEvents('bytes behind the batch')
    return seconds
  }

  #events(sink: EventSink): void {
    const cursor = this.#cursor
    for (let left = cursor.arrayLength(); left > 0; left--) {
      this.#forget()
      if (cursor.isMap()) {
        for (let fields = cursor.mapLength(); fields > 0; fields--) this.#field(this.#key())
      } else {
        const length = cursor.arrayLength()
        if (length === 0) throw new MalformedEvents('an event without a type')
        this.#type = TYPES[cursor.word(TYPE_WORDS)] ?? 'unknown'
        const order = POSITIONS[this.#type]
        for (let position = 1; position < length; position++) this.#field(order[position - 1] ?? 'unknown')
      }
      this.#tell(sink)
    }
  }

  #forget(): void {
    const event = this.#event
    event.blocks = 0
    event.tokenCount = 0
    event.blockTokens = 0
    event.hasParent = false
    event.tier = 0
    event.group = null
    event.attention = null
    this.#extras.length = 0
    this.#names.length = 0
    this.#type = 'unknown'
  }

  #tell(sink: EventSink): void {
    this.events++
    if (this.#type === 'stored') sink.stored(this.#event)
    else if (this.#type === 'removed') sink.removed(this.#event)
    else if (this.#type === 'cleared') sink.cleared()
    else this.unknown++
  }

  #field(field: Field): void {
    const cursor = this.#cursor
    if (field === 'unknown') return cursor.skip()
    if (cursor.isNil()) return cursor.skip()
    const event = this.#event
    switch (field) {
      case 'type':
        this.#type = TYPES[cursor.word(TYPE_WORDS)] ?? 'unknown'
        return
      case 'hashes':
        return this.#hashes()
      case 'parent':
        cursor.hash()
        event.hasParent = true
        event.parentLow = cursor.low
        event.parentHigh = cursor.high
        return
      case 'tokens':
        return this.#tokens()
      case 'blockTokens':
        event.blockTokens = cursor.count()
        return
      case 'medium':
        event.tier = tierOf(cursor.word(TIER_WORDS))
        return
      case 'extras':
        return this.#extraKeys()
      case 'name': {
        const from = cursor.at
        cursor.stringLength()
        this.#names.push(from, cursor.at)
        return
      }
      case 'group':
        event.group = cursor.count()
        return
      case 'attention':
        event.attention = cursor.word(ATTENTION_WORDS)
        return
    }
  }

  #hashes(): void {
    const cursor = this.#cursor
    const event = this.#event
    const blocks = this.#bounded(cursor.arrayLength())
    if (event.hashes.length < 2 * blocks) event.hashes = new Uint32Array(4 * blocks)
    for (let block = 0; block < blocks; block++) {
      cursor.hash()
      event.hashes[2 * block] = cursor.low
      event.hashes[2 * block + 1] = cursor.high
    }
    event.blocks = blocks
  }

  #tokens(): void {
    const cursor = this.#cursor
    const event = this.#event
    const count = this.#bounded(cursor.arrayLength())
    if (event.tokens.length < count) event.tokens = new Uint32Array(2 * count)
    const { tokens } = event
    const { bytes } = cursor
    let from = cursor.at
    for (let at = 0; at < count; at++) {
      const head = bytes[from]!
      // The two forms of nearly all token ids, read in place: half the time of an event was here.
      if (head < 0x80) {
        tokens[at] = head
        from++
      } else if (head === 0xcd) {
        tokens[at] = (bytes[from + 1]! << 8) | bytes[from + 2]!
        from += 3
      } else {
        cursor.at = from
        // SGLang with EAGLE tells each token with the one that follows.
        const pair = head === 0x92
        if (pair) cursor.at++
        const token = cursor.count()
        if (pair) cursor.skip()
        if (token > 0x7fffffff) throw new MalformedEvents('a token id is out of range')
        tokens[at] = token
        from = cursor.at
      }
    }
    if (from > bytes.length) throw new MalformedEvents('it ends too early')
    cursor.at = from
    event.tokenCount = count
  }

  #extraKeys(): void {
    const cursor = this.#cursor
    let some = false
    for (let left = this.#bounded(cursor.arrayLength()); left > 0; left--) {
      const from = cursor.at
      const nil = cursor.isNil()
      if (!nil) some = true
      cursor.skip()
      this.#extras.push(from, nil ? from : cursor.at)
    }
    if (!some) this.#extras.length = 0
  }

  /** A list cannot have more elements than bytes are left, whatever its head says: nothing is allocated on its word. */
  #bounded(length: number): number {
    if (length > this.#cursor.bytes.length - this.#cursor.at) throw new MalformedEvents('a list is longer than its batch')
    return length
  }

  /** Which field a key names, told by its length and first letter, then letter by letter: no string is made. */
  #key(): Field {
    const cursor = this.#cursor
    const length = cursor.stringLength()
    const start = cursor.at - length
    if (length === 0) return 'unknown'
    const known = BY_SHAPE[length * 256 + cursor.bytes[start]!]
    if (known === undefined) return 'unknown'
    for (let at = 1; at < length; at++) if (cursor.bytes[start + at] !== known.name[at]) return 'unknown'
    return known.field
  }
}

type EventType = 'stored' | 'removed' | 'cleared' | 'unknown'
type Field =
  | 'type' | 'hashes' | 'parent' | 'tokens' | 'blockTokens' | 'medium' | 'extras' | 'name' | 'group' | 'attention'
  | 'unknown'

const TYPES: Readonly<Record<string, EventType | undefined>> = Object.assign(
  Object.create(null) as Record<string, EventType>,
  { BlockStored: 'stored', BlockRemoved: 'removed', AllBlocksCleared: 'cleared' },
)

const TYPE_WORDS = knownWords('BlockStored', 'BlockRemoved', 'AllBlocksCleared')
const TIER_WORDS = knownWords('GPU', 'CPU')
const ATTENTION_WORDS = knownWords('full_attention', 'mla_attention', 'sliding_window')

/** Fields of positional events, behind the type. */
const POSITIONS: Readonly<Record<EventType, readonly Field[]>> = {
  stored: [
    'hashes', 'parent', 'tokens', 'blockTokens', 'unknown', 'medium', 'unknown', 'extras', 'group', 'attention',
  ],
  removed: ['hashes', 'medium', 'group'],
  cleared: [],
  unknown: [],
}

const NAMES: Readonly<Record<string, Field>> = {
  type: 'type',
  block_hashes: 'hashes',
  parent_block_hash: 'parent',
  token_ids: 'tokens',
  block_size: 'blockTokens',
  medium: 'medium',
  extra_keys: 'extras',
  cache_salt: 'name',
  lora_name: 'name',
  group_idx: 'group',
  kv_cache_spec_kind: 'attention',
}

/** By length and first letter, which no two of the names share. */
const BY_SHAPE: ({ readonly name: Buffer; readonly field: Field } | undefined)[] = Array.from({ length: 32 * 256 })
for (const [name, field] of Object.entries(NAMES)) {
  BY_SHAPE[name.length * 256 + name.charCodeAt(0)] = { name: Buffer.from(name), field }
}

/** vLLM: GPU, CPU, STORAGE; connectors name their own stores. */
function tierOf(medium: string): Tier {
  if (medium === 'GPU') return 0
  const name = medium.toUpperCase()
  return name === 'GPU' || name === '' ? 0 : name.startsWith('CPU') ? 1 : 2
}
