/** The routes that generate: Responses and Chat Completions. */
import { HomingError } from '../model/error.ts'
import type { Turn } from '../model/turn.ts'
import type { ClientSink } from '../upstream/client-sink.ts'
import { parseChat } from '../wire/parse-chat.ts'
import { parseResponses, type Limits, type TurnMeta } from '../wire/parse-responses.ts'
import { parseJson } from './body.ts'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'
import { sessionHint } from './session-hint.ts'

export type TurnRoutePorts = {
  readonly serve: (turn: Turn, sink: ClientSink) => Promise<void>
  readonly limits: Limits
}

export function turnRoutes(router: Router<Handler>, ports: TurnRoutePorts): void {
  const handler = (name: string, parse: (body: unknown, meta: TurnMeta, limits: Limits) => Turn): Handler => ({
    access: 'tenant',
    limited: true,
    name,
    handle: async (call) => {
      const bodyBytes = await call.bytes()
      await ports.serve(parse(parseJson(bodyBytes), { ...metaOf(call), bodyBytes }, ports.limits), call.sink)
    },
  })
  router.on('POST', '/v1/responses', handler('responses', parseResponses))
  router.on('POST', '/v1/chat/completions', handler('chat_completions', parseChat))
  router.on('POST', '/v1/responses/{id}/cancel', {
    access: 'tenant',
    limited: false,
    name: 'responses_cancel',
    handle: () =>
      Promise.reject(
        new HomingError('unsupported_parameter', {
          param: 'background',
          why: 'only background responses can be cancelled, and they are not offered',
        }),
      ),
  })
}

export const metaOf = (call: Call): TurnMeta => ({
  tenant: call.caller.tenant,
  requestId: call.requestId,
  receivedAtMs: call.receivedAtMs,
  sessionHint: sessionHint(call.request.headers),
})
