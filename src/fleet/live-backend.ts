import type { Backend, BackendConfig, Engine, Protocol, ServedModel } from '../model/backend.ts'

/** The registry's writable side of a Backend; everybody else sees the read-only interface. */
export class LiveBackend implements Backend {
  readonly id: string
  readonly index: number
  readonly config: BackendConfig
  engine: Engine = 'unknown'
  protocols: ReadonlySet<Protocol>
  models: ReadonlyMap<string, ServedModel>
  vision: boolean | null = null
  slots: number | null = null
  cacheCapacityTokens: number | null = null
  healthy = false
  draining = false
  probed = false
  trouble: string | null = 'not probed yet'

  constructor(config: BackendConfig, index: number) {
    this.id = config.id
    this.index = index
    this.config = config
    this.protocols = new Set(config.protocol === 'auto' ? [] : [config.protocol])
    const declared = Object.entries(config.models ?? {})
    const { contextTokens } = config
    this.models = new Map(declared.map(([name, served]) => [name, { name, served, contextTokens }]))
  }
}
