import type { Database } from './sqlite-driver.ts'
import { StorageError } from './storage-error.ts'

/**
 * Rowid tables with a unique text id, small columns first (large values in `WITHOUT ROWID` tables are slower).
 *
 *   item               one item, once per tenant. `refs`: how many times responses and conversations hold it;
 *                      `unused_since_ms` is set when a deleted conversation was the last holder.
 *   text               tools and long instructions, once per tenant and content (agents resend 30 KB of them each turn).
 *   response           `context`: rows of input and output items in order (row-list.ts). `base`: the response whose
 *                      whole context this one continues; it holds the first `base_length` entries through `base` and
 *                      the others itself, so a save costs O(new items). A deleted response with continuations keeps its
 *                      row, without id and content, until the last of them is gone. Rows are never used again:
 *                      `conversation.last_response` and the context cache may name one that is gone.
 *   conversation_item  the order of a conversation.
 *   state              what the gateway has learnt, by name: one value each, replaced whole.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE item (
    row INTEGER PRIMARY KEY, refs INTEGER NOT NULL, unused_since_ms INTEGER, tenant TEXT NOT NULL, id TEXT NOT NULL,
    body TEXT NOT NULL, UNIQUE (tenant, id));
  CREATE INDEX item_unused ON item (unused_since_ms) WHERE unused_since_ms IS NOT NULL;
  CREATE TABLE text (
    row INTEGER PRIMARY KEY, tenant TEXT NOT NULL, hash BLOB NOT NULL, body TEXT NOT NULL, UNIQUE (tenant, hash));
  CREATE TABLE response (
    row INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, id TEXT, created_at_ms INTEGER NOT NULL,
    base INTEGER, base_length INTEGER NOT NULL, input_length INTEGER NOT NULL, tools INTEGER, instructions INTEGER,
    context BLOB NOT NULL, record TEXT, UNIQUE (tenant, id));
  CREATE INDEX response_age ON response (created_at_ms) WHERE id IS NOT NULL;
  CREATE INDEX response_base ON response (base) WHERE base IS NOT NULL;
  CREATE INDEX response_tools ON response (tools) WHERE tools IS NOT NULL;
  CREATE INDEX response_instructions ON response (instructions) WHERE instructions IS NOT NULL;
  CREATE TABLE conversation (
    row INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL, created_at_ms INTEGER NOT NULL,
    used_at_ms INTEGER NOT NULL, last_response INTEGER, metadata TEXT NOT NULL, UNIQUE (tenant, id));
  CREATE INDEX conversation_used ON conversation (used_at_ms);
  CREATE TABLE conversation_item (
    conversation INTEGER NOT NULL, position INTEGER NOT NULL, item INTEGER NOT NULL,
    PRIMARY KEY (conversation, position), UNIQUE (conversation, item)) WITHOUT ROWID;
  `,
  'CREATE TABLE state (row INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, saved_at_ms INTEGER NOT NULL, body BLOB NOT NULL)',
]

export const migrate = (database: Database, nowMs: number): void => {
  database.exec(
    'CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at_ms INTEGER NOT NULL)',
  )
  const { version } = database.prepare('SELECT coalesce(max(version), 0) AS version FROM schema_version').get() as {
    version: number
  }
  if (version > MIGRATIONS.length) {
    throw new StorageError(
      'newer_schema',
      `The store has schema version ${version}; this program knows versions up to ${MIGRATIONS.length}.`,
    )
  }
  MIGRATIONS.slice(version).forEach((sql, index) => {
    const next = version + index + 1
    database.exec(`BEGIN IMMEDIATE; ${sql}; INSERT INTO schema_version VALUES (${next}, ${Math.floor(nowMs)}); COMMIT`)
  })
}
