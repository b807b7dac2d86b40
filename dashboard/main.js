/** The page: which view is shown, the key, and that nothing is asked while nobody looks. */
import { decisionsView } from './decisions.js'
import { byId } from './elements.js'
import { expertiseView } from './expertise.js'
import { fleetView } from './fleet.js'
import { Gateway } from './gateway.js'
import { playgroundView } from './playground.js'

const dialog = byId('key-dialog')
const input = byId('key-input')
const keyButton = byId('key-button')

/** @returns {Promise<string | null>} null where the viewer would rather not */
function askForKey(why) {
  byId('key-why').textContent = why
  input.value = ''
  dialog.showModal()
  return new Promise((resolve) => {
    let given = null
    const submit = (event) => {
      event.preventDefault()
      given = input.value.trim()
      dialog.close()
    }
    byId('key-form').addEventListener('submit', submit)
    dialog.addEventListener('close', () => {
      byId('key-form').removeEventListener('submit', submit)
      input.value = ''
      resolve(given === '' ? null : given)
      queueMicrotask(tellKey)
    }, { once: true })
  })
}
byId('key-cancel').addEventListener('click', () => dialog.close())

const gateway = new Gateway({ base: new URL('.', document.baseURI), storage: sessionStorage, askForKey, onRefused: () => {
  keyButton.hidden = false
} })

function tellKey() {
  keyButton.textContent = gateway.hasKey ? 'Forget the key' : 'Enter a key'
  if (gateway.hasKey) keyButton.hidden = false
}
keyButton.addEventListener('click', async () => {
  if (gateway.hasKey) {
    gateway.forgetKey()
    location.reload() // what the key showed is not left standing
  } else if (await gateway.enterKey()) restart()
})

const views = { fleet: fleetView, playground: playgroundView, expertise: expertiseView, decisions: decisionsView }
const built = new Map()
let current = null

function show() {
  const name = Object.hasOwn(views, location.hash.slice(1)) ? location.hash.slice(1) : 'fleet'
  for (const section of document.querySelectorAll('main > section')) section.hidden = section.id !== name
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  document.title = `Homing: ${byId(`${name}-title`).textContent}`
  if (!built.has(name)) built.set(name, views[name](byId(name), { gateway }))
  current?.hide()
  current = built.get(name)
  if (!document.hidden) current.show()
}

function restart() {
  tellKey()
  current?.hide()
  current?.show()
}

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault() // the address names a view, and stays
  byId('main').focus()
})
addEventListener('hashchange', show)
document.addEventListener('visibilitychange', () => (document.hidden ? current?.hide() : current?.show()))
tellKey()
show()
