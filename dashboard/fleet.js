/** Backends as they are now. */
import { element, table } from './elements.js'
import { count, percent, seconds, tokens } from './format.js'
import { sentence } from './gateway.js'
import { Poll } from './poll.js'

const EVERY_MS = 2000

const COLUMNS = [
  { title: 'Backend', long: true },
  { title: 'State' },
  { title: 'Models', long: true },
  { title: 'Running turns', number: true },
  { title: 'Waiting in the engine', number: true },
  { title: 'Prefill queued', number: true },
  { title: 'Tokens in flight', number: true },
  { title: 'Cached blocks', number: true },
  { title: 'Cache in use', number: true },
]

export function fleetView(root, { gateway }) {
  const summary = element('p', { class: 'summary' })
  const trouble = element('p', { class: 'notice', role: 'status', hidden: true })
  const list = element('div')
  root.append(summary, trouble, list)
  let shown = ''

  const poll = new Poll({
    everyMs: EVERY_MS,
    ask: async (signal) => {
      try {
        show((await gateway.json('v1/backends', { signal })).data)
        trouble.hidden = true
        return true
      } catch (error) {
        if (signal.aborted) return false
        trouble.textContent = shown === '' ? sentence(error) : `${sentence(error)} What is shown is of before.`
        trouble.hidden = false
        return false
      }
    },
  })

  function show(backends) {
    const now = JSON.stringify(backends)
    if (now === shown) return // a selection in the table stays
    shown = now
    summary.textContent = summaryOf(backends)
    list.replaceChildren(backends.length === 0 ? noBackend() : table('Backends, asked again every 2 s', COLUMNS, backends.map(rowOf)))
  }

  return { show: () => poll.start(), hide: () => poll.stop() }
}

const noBackend = () =>
  element('p', {}, 'There is no backend yet. Add one with ', element('code', {}, 'homing serve --backend URL'), ' or ', element('code', {}, 'POST /homing/v1/backends'), '.')

export function summaryOf(backends) {
  const usable = backends.filter(({ healthy, draining }) => healthy && !draining).length
  const running = backends.reduce((sum, { running_requests: own }) => sum + own, 0)
  return `${usable} of ${backends.length} backend${backends.length === 1 ? '' : 's'} in service, ${running} turn${running === 1 ? '' : 's'} running.`
}

function rowOf(backend) {
  const models = backend.models.map(({ id }) => id)
  return {
    class: backend.healthy ? null : 'down',
    cells: [
      element('span', {}, element('strong', {}, backend.id), element('small', {}, `${backend.engine}, ${backend.url}`)),
      stateOf(backend),
      models.length === 0 ? '–' : models.join(', '),
      beside(count(backend.running_requests), backend.others_running_requests > 0 ? `and ${count(backend.others_running_requests)} of others` : null),
      beside(count(backend.engine_waiting_requests), backend.others_wait_seconds > 0 ? `${seconds(backend.others_wait_seconds)} of others' work` : null),
      tokens(backend.queued_prefill_tokens),
      beside(tokens(backend.inflight_tokens), backend.max_inflight_tokens === null ? null : `of at most ${count(backend.max_inflight_tokens)}`),
      beside(count(backend.cached_blocks), backend.cache_capacity_tokens === null ? null : `room for ${tokens(backend.cache_capacity_tokens)}`),
      percent(backend.engine_cache_usage),
    ],
  }
}

function stateOf({ healthy, draining, trouble }) {
  const [kind, word] = !healthy ? ['bad', 'not usable'] : draining ? ['between', 'draining'] : ['good', 'in service']
  return beside(element('span', { class: `state ${kind}` }, word), trouble)
}

const beside = (main, note) => (note === null || note === '' || note === undefined ? main : element('span', {}, main, element('small', {}, note)))
