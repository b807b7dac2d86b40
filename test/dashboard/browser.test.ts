/** The page in a real browser, in front of a gateway in this process: what a viewer does and sees, with a keyboard and without colours. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, before, describe, test, type TestContext } from 'node:test'
import { chromium, type Browser, type Page } from 'playwright-core'
import { harness, type Harness, type HarnessOptions } from '../gateway/support/gateway.ts'
import { chunk, DONE, Gate, says, send, sseHead, usageChunk } from '../gateway/support/scripted-upstream.ts'
import { installedBrowser, skipWithoutBrowser } from './installed-browser.ts'

const BROWSER = installedBrowser()
const LIMIT = { timeout: 60_000 }
const PATIENCE = 15_000
const MODELS = ['coder', 'general']
const GROUPED: HarnessOptions = { models: MODELS, config: { model_groups: { auto: MODELS } } }
const KEYED: HarnessOptions = { ...GROUPED, config: { ...GROUPED.config, tenants: [{ id: 'acme', keys: ['tenant-key'] }], admin: { keys: ['operator-key'] } } }
/** As names are in the wild, and one without a place to break. */
const LONG = ['Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8', `general${'x'.repeat(60)}`]
/** What a hostile engine would like a page to run. */
const HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'

describe('the dashboard in a browser', { skip: skipWithoutBrowser(BROWSER) }, () => {
  let browser: Browser
  before(async () => {
    browser = await chromium.launch({ executablePath: BROWSER!, args: ['--no-sandbox'] })
  })
  after(() => browser.close())

  /** A page at a view; whatever it complains of fails the test. */
  async function open(t: TestContext, { url }: Harness, view: string, options: { width?: number; scheme?: 'light' | 'dark'; mayRefuse?: boolean } = {}): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: options.width ?? 1280, height: 800 }, colorScheme: options.scheme ?? 'light' })
    const page = await context.newPage()
    page.setDefaultTimeout(PATIENCE)
    const complaints: string[] = []
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' && !(options.mayRefuse === true && /40[13]|503/.test(message.text()))) complaints.push(message.text())
    })
    const elsewhere: string[] = []
    page.on('request', (request) => void (request.url().startsWith(url) || elsewhere.push(request.url())))
    t.after(async () => {
      await context.close()
      assert.deepEqual([complaints, elsewhere], [[], []])
    })
    await page.goto(`${url}/homing/#${view}`)
    return page
  }

  async function ask(page: Page, text: string): Promise<void> {
    const thumbs = await page.locator('.thumbs').count()
    await page.locator('#play-model option').first().waitFor({ state: 'attached' })
    await page.getByLabel('Message').fill(text)
    await page.keyboard.press('Control+Enter')
    await page.locator('.thumbs').nth(thumbs).waitFor()
  }

  test('the fleet shows each backend with its state, and keeps up with it', LIMIT, async (t) => {
    const gateway = await harness(t, { ...GROUPED, config: { ...GROUPED.config } })
    const page = await open(t, gateway, 'fleet')
    const rows = page.locator('#fleet tbody tr')
    await rows.nth(1).waitFor()
    assert.match(await rows.nth(0).innerText(), new RegExp(`${gateway.upstreams[0]!.id}[^]*in service[^]*coder`))
    await gateway.post(`/homing/v1/backends/${encodeURIComponent(gateway.upstreams[0]!.id)}/drain`, { drain: true })
    await rows.nth(0).getByText('draining').waitFor()
    assert.match(await page.locator('#fleet .summary').innerText(), /^1 of 2 backends in service/)
  })

  test('a conversation streams, goes on, and shows its receipt beside each answer', LIMIT, async (t) => {
    const gateway = await harness(t, GROUPED)
    const gate = new Gate()
    gateway.next(async (response) => {
      sseHead(response)
      await send(response, chunk({ role: 'assistant', content: 'First half' }))
      await gate.opened
      response.end(chunk({ content: ', second half.' }) + chunk({}, 'stop') + usageChunk(120, 96, 8) + DONE)
    })
    const page = await open(t, gateway, 'playground')
    await page.locator('#play-model option').first().waitFor({ state: 'attached' })
    assert.equal(await page.getByLabel('Model or group').inputValue(), 'auto')
    await page.getByLabel('Message').fill('Write a function in Python.')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByText('First half', { exact: true }).waitFor()
    assert.equal(await page.getByRole('button', { name: 'Send' }).isDisabled(), true)
    gate.open()
    await page.getByText('First half, second half.', { exact: true }).waitFor()
    await page.getByText('120 tokens').waitFor()
    assert.match(await page.locator('.why').innerText(), /Models of the group auto[^]*coder[^]*general[^]*Backends that could have answered[^]*96 tokens/)
    await ask(page, 'And now in Rust.')
    assert.match(await page.locator('.why').nth(1).innerText(), /Switching to|Staying with/)
    const sent = (): string[] => gateway.upstreams.flatMap(({ asked }) => asked).map(({ body }) => JSON.stringify(body['messages']))
    const inRust = sent().filter((messages) => messages.includes('Rust'))
    assert.ok(sent().length === 2 && inRust.length === 1 && inRust[0]!.includes('First half, second half.'))
    await page.getByRole('button', { name: 'New conversation' }).click()
    assert.equal(await page.locator('article').count(), 0)
    await ask(page, 'Something else.')
    const anew = sent().filter((messages) => messages.includes('Something else.'))
    assert.ok(anew.length === 1 && !anew[0]!.includes('second half'))
  })

  test('an answer that is stopped is given up, and the conversation goes on without it', LIMIT, async (t) => {
    const gateway = await harness(t, { backends: 1 })
    const page = await open(t, gateway, 'playground')
    await ask(page, 'Say hello.')
    gateway.next(async (response) => {
      sseHead(response)
      await send(response, chunk({ role: 'assistant', content: 'An endless answer' }))
    })
    await page.getByLabel('Message').fill('Talk.')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByText('An endless answer').waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.getByText('You stopped it.').waitFor()
    await gateway.upstreams[0]!.asked[1]!.gone
    await ask(page, 'Once more.')
    const last = JSON.stringify(gateway.upstreams[0]!.asked[2]!.body['messages'])
    assert.ok(last.includes('Hello there.') && !last.includes('Talk.'))
  })

  test('several models can be asked, and the receipt tells who said what', LIMIT, async (t) => {
    const gateway = await harness(t, { models: ['coder', 'general', 'math'], config: { model_groups: { auto: ['coder', 'general', 'math'] } } })
    const page = await open(t, gateway, 'playground')
    await page.getByLabel('Answered by').selectOption('vote')
    await ask(page, 'What is 17 times 4?')
    assert.match(await page.locator('.why').innerText(), /Several were asked: vote[^]*coder[^]*general[^]*math[^]*more than half of the ballots agree/)
    await page.getByRole('link', { name: 'Decisions' }).click()
    await page.locator('#decisions').getByText('one of several').first().waitFor()
  })

  test('thumbs teach, can be changed, and show what was learned', LIMIT, async (t) => {
    const gateway = await harness(t, GROUPED)
    const page = await open(t, gateway, 'playground')
    await ask(page, 'Write a function in Python that sorts a list of numbers, with tests.')
    await page.getByRole('button', { name: 'Good answer' }).click()
    await page.getByText('accepted').waitFor()
    await page.locator('.thumbs tbody tr').first().waitFor()
    assert.equal(await page.getByRole('button', { name: 'Good answer' }).getAttribute('aria-pressed'), 'true')
    await page.getByRole('button', { name: 'Bad answer' }).click()
    await page.getByText('corrected').waitFor()
    assert.deepEqual([await page.getByRole('button', { name: 'Good answer' }).getAttribute('aria-pressed'), await page.getByRole('button', { name: 'Bad answer' }).getAttribute('aria-pressed')], ['false', 'true'])
    await page.locator('.thumbs').getByText('→').first().waitFor()
    assert.match(await page.locator('.thumbs table').innerText(), /coding[^]*−0\.\d{3}/)
  })

  test('an operator sorts, filters, sets and resets what is believed', LIMIT, async (t) => {
    const gateway = await harness(t, GROUPED)
    for (const [model, topic, mean] of [['coder', 'coding', 0.9], ['general', 'coding', 0.4]] as const) {
      const told = await fetch(`${gateway.url}/homing/v1/expertise`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model, topic, mean, observations: 50 }) })
      assert.equal(told.status, 200)
    }
    const page = await open(t, gateway, 'expertise')
    const first = page.locator('#expertise tbody tr').first()
    await page.getByRole('button', { name: 'Expected quality' }).press('Enter')
    assert.match(await first.innerText(), /^coder/)
    await page.getByRole('button', { name: 'Expected quality' }).press('Enter')
    assert.match(await first.innerText(), /^general/)
    assert.equal(await page.locator('[aria-sort="ascending"]').innerText(), 'Expected quality')
    await page.getByLabel('Model or topic').fill('coder coding')
    assert.equal(await page.locator('#expertise tbody tr').count(), 1)

    await page.getByRole('button', { name: 'Set coder, coding', exact: true }).click()
    await page.getByLabel('Expected quality, 0 to 1').fill('0.2')
    await page.getByLabel('As much as so many outcomes').fill('100')
    await page.getByRole('button', { name: 'Set it' }).click()
    await page.getByText('set to 0.200, as much as 100 outcomes').waitFor()

    await page.getByRole('button', { name: 'Reset coder, coding' }).click()
    await page.getByRole('dialog').getByText('cannot be undone').waitFor()
    await page.keyboard.press('Escape')
    assert.equal(await page.getByText('set to 0.200').count(), 1)
    await page.getByRole('button', { name: 'Reset coder, coding' }).click()
    await page.getByRole('button', { name: 'Reset it' }).click()
    await page.getByText('set to 0.200').waitFor({ state: 'detached' })
  })

  test('a key is asked for only when the gateway wants one; a tenant sees what is its own', LIMIT, async (t) => {
    const gateway = await harness(t, KEYED)
    const page = await open(t, gateway, 'fleet', { mayRefuse: true })
    await page.getByLabel('API key').fill('no-such-key')
    await page.keyboard.press('Enter')
    await page.getByText('does not know the key').waitFor()
    await page.getByLabel('API key').fill('tenant-key')
    await page.keyboard.press('Enter')
    await page.locator('#fleet').getByText("needs an operator's key").waitFor()
    await page.getByRole('link', { name: 'Playground' }).click()
    await ask(page, 'Say hello.')
    await page.getByRole('button', { name: 'Good answer' }).click()
    await page.getByText("can be seen with an operator's key").waitFor()
    await page.getByRole('link', { name: 'Decisions' }).click()
    await page.locator('#decisions tbody tr').first().waitFor()
    assert.equal(page.url().includes('key'), false)
    assert.equal(await page.evaluate('localStorage.length + document.cookie.length'), 0)
    await page.getByRole('button', { name: 'Forget the key' }).click()
    await page.getByLabel('API key').waitFor()
    await page.getByLabel('API key').fill('operator-key')
    await page.keyboard.press('Enter')
    await page.locator('#decisions tbody tr').first().waitFor()
  })

  test('a keyboard is enough, and a message that was refused is not lost', LIMIT, async (t) => {
    const gateway = await harness(t, { backends: 1 })
    const page = await open(t, gateway, 'fleet', { mayRefuse: true })
    await page.locator('#fleet tbody tr').first().waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    assert.equal(await page.evaluate('document.activeElement.id'), 'main')
    assert.equal(await page.locator('#fleet').isVisible(), true)
    await page.getByRole('link', { name: 'Playground' }).press('Enter')
    await page.locator('#play-model option').first().waitFor({ state: 'attached' })
    await page.route('**/v1/responses', (route) => route.fulfill({ status: 503, json: { error: { message: 'No backend can take it.' } } }))
    await page.getByLabel('Message').fill('Say hello.')
    await page.keyboard.press('Control+Enter')
    await page.getByText('No backend can take it.').waitFor()
    assert.equal(await page.getByLabel('Message').inputValue(), 'Say hello.')
    await page.unroute('**/v1/responses')
    await page.keyboard.press('Control+Enter')
    await page.getByText('Hello there.', { exact: true }).waitFor()
  })

  test('an open gateway asks nobody for a key', LIMIT, async (t) => {
    const page = await open(t, await harness(t, GROUPED), 'fleet')
    await page.locator('#fleet tbody tr').first().waitFor()
    assert.deepEqual([await page.getByRole('dialog').count(), await page.locator('#key-button').isVisible()], [0, false])
  })

  test('what engines and configurations say is shown as it is and never run', LIMIT, async (t) => {
    const gateway = await harness(t, { models: [HOSTILE], usual: says(HOSTILE) })
    const page = await open(t, gateway, 'playground')
    await ask(page, HOSTILE)
    assert.equal(await page.locator('article').getByText(HOSTILE, { exact: true }).count() >= 2, true)
    for (const view of ['Fleet', 'Decisions']) {
      await page.getByRole('link', { name: view }).click()
      await page.locator(`#${view.toLowerCase()}`).getByText(HOSTILE).first().waitFor()
    }
    assert.equal(await page.locator('main img, main script').count(), 0)
    assert.match(await page.title(), /^Homing/)
  })

  test('a gateway that is gone is told in a sentence, and what was known stays', LIMIT, async (t) => {
    const gateway = await harness(t, GROUPED)
    const page = await open(t, gateway, 'fleet', { mayRefuse: true })
    await page.locator('#fleet tbody tr').first().waitFor()
    await page.route('**/homing/v1/backends', (route) => route.fulfill({ status: 503, json: { error: { message: 'The gateway is shutting down.' } } }))
    await page.getByText('The gateway is shutting down. What is shown is of before.').waitFor()
    assert.equal(await page.locator('#fleet tbody tr').count(), 2)
    await page.unroute('**/homing/v1/backends')
    await page.locator('#fleet .notice').waitFor({ state: 'hidden' })
  })

  const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  for (const scheme of ['light', 'dark'] as const) {
    for (const width of [1280, 1024, 360]) {
      test(`every view can be read by everybody and fits: ${scheme}, ${width} pixels`, LIMIT, async (t) => {
        const gateway = await harness(t, { models: LONG, config: { model_groups: { auto: LONG } } })
        const page = await open(t, gateway, 'playground', { scheme, width })
        await ask(page, 'Write a function in Python.')
        await page.getByRole('button', { name: 'Good answer' }).click()
        await page.locator('.thumbs tbody tr').first().waitFor()
        const look = async (what: string): Promise<void> => {
          // the page's policy forbids eval to its own scripts, not to the one who drives the browser
          await page.evaluate(AXE)
          const found = await page.evaluate<{ violations: { id: string; help: string; nodes: { target: string[] }[] }[] }>('axe.run()')
          assert.deepEqual(found.violations.map(({ id, nodes }) => `${what}: ${id} at ${nodes.map(({ target }) => target.join(' ')).slice(0, 3).join(', ')}`), [])
          assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true, `${what} is wider than the screen`)
        }
        if (width < 1000) await page.locator('.why summary').click()
        await look('playground')
        for (const view of ['Fleet', 'Expertise', 'Decisions']) {
          await page.getByRole('link', { name: view }).click()
          await page.locator(`#${view.toLowerCase()} tbody tr`).first().waitFor()
          await look(view)
        }
        await page.locator('#decisions .id').first().click()
        await page.getByRole('dialog').getByText('Backends that could have answered').waitFor()
        await look('receipt')
      })
    }
  }
})
