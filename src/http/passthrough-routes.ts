/** /v1/completions and /v1/embeddings: placed by load, passed through. */
import { HomingError } from '../model/error.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import { checkDepth } from '../wire/parse-checks.ts'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'

export type PassthroughRoutePorts = {
  readonly forward: (
    endpoint: 'completions' | 'embeddings',
    model: string,
    body: JsonObject,
    call: Call,
  ) => Promise<void>
  readonly maxDepth: number
  /** A name that stands for several models. */
  readonly isGroup: (model: string) => boolean
}

export function passthroughRoutes(router: Router<Handler>, ports: PassthroughRoutePorts): void {
  for (const endpoint of ['completions', 'embeddings'] as const) {
    router.on('POST', `/v1/${endpoint}`, {
      access: 'tenant',
      limited: true,
      name: endpoint,
      handle: async (call) => {
        const body = await call.body()
        if (!isObject(body))
          throw new HomingError('invalid_type', { param: 'body', expected: 'an object', got: typeof body })
        checkDepth(body, ports.maxDepth)
        if (body['model'] === undefined) throw new HomingError('missing_required_parameter', { param: 'model' })
        if (typeof body['model'] !== 'string')
          throw new HomingError('invalid_type', { param: 'model', expected: 'a string', got: typeof body['model'] })
        const { model } = body as { readonly model: string }
        if (ports.isGroup(model))
          throw new HomingError('invalid_value', { param: 'model', why: `'${model.slice(0, 200)}' is a group; ${endpoint} take a model` })
        if ((body['homing'] ?? null) !== null)
          throw new HomingError('unsupported_parameter', { param: 'homing', why: 'only responses and chat completions can be asked of several models' })
        await ports.forward(endpoint, model, body, call)
      },
    })
  }
}
