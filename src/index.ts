/**
 * Homing as a library: the gateway in your own process.
 *
 *   const gateway = await startGateway(loadConfig({ env: process.env, flags: { backends: ['http://127.0.0.1:8000'] } }), { version: '1' })
 *   const scores = await gateway.affinity.computeAffinity({ tenant: 'default', model: 'qwen', input: 'hello' }, gateway.fleet.list())
 */
export { startGateway, type Gateway } from './compose.ts'
export { ConfigError, loadConfig, type Config, type ConfigSource } from './config.ts'
export { ERROR_TABLE, HomingError, InvalidCacheState, type ErrorCode } from './model/error.ts'
export type { AffinityScore, CacheMetadata, CacheSource, CacheTier, SemanticAffinityRouter, SessionContext } from './model/affinity.ts'
export type { EntityCount, EntityValue, FingerprintNote, SemanticFingerprint } from './model/fingerprint.ts'
export type { Backend, BackendConfig, Engine, Protocol, ServedModel } from './model/backend.ts'
export type { Decision, DecisionReason, RankedBackend, SchedulingRequest } from './model/decision.ts'
export type { ConversationItem, StoredItem } from './model/item.ts'
export type { Receipt } from './model/receipt.ts'
