// Tasks of four kinds with a grader each, made from a seed: { kind, question, maxTokens, grade(text) -> 0 or 1 }.
//
// A grader reads the answer as the one who asked would use it: a program parses the whole text as JSON, a label is compared, a
// number is the last one named, a fact has to be named in prose. What is held out is made of other facts, other pairs of
// numbers and other things and people than what is learned from; the wordings are the same.

const FACTS = {
  'What is the capital of {}?': {
    France: 'Paris', Japan: 'Tokyo', Italy: 'Rome', Spain: 'Madrid', Germany: 'Berlin', Portugal: 'Lisbon', Norway: 'Oslo', Sweden: 'Stockholm',
    Denmark: 'Copenhagen', Finland: 'Helsinki', Poland: 'Warsaw', Austria: 'Vienna', Greece: 'Athens', Hungary: 'Budapest', Ireland: 'Dublin',
    Belgium: 'Brussels', Russia: 'Moscow', China: 'Beijing', Egypt: 'Cairo', Kenya: 'Nairobi', Peru: 'Lima', Cuba: 'Havana', Canada: 'Ottawa',
    Australia: 'Canberra', Brazil: 'Brasilia|Brasília', Argentina: 'Buenos Aires', Thailand: 'Bangkok', Iran: 'Tehran', Iraq: 'Baghdad', 'South Korea': 'Seoul',
    Iceland: 'Reykjavik|Reykjavík', Mexico: 'Mexico City', India: 'Delhi', 'the United Kingdom': 'London', Turkey: 'Ankara', Ukraine: 'Kyiv|Kiev',
  },
  'What is the opposite of {}?': {
    hot: 'cold', big: 'small|little', up: 'down', open: 'closed|close|shut', day: 'night', light: 'dark|darkness|heavy', happy: 'sad|unhappy', fast: 'slow', early: 'late',
    black: 'white', left: 'right', old: 'young|new', rich: 'poor', wet: 'dry', loud: 'quiet|silent|soft', strong: 'weak', first: 'last', hard: 'soft|easy', true: 'false', war: 'peace',
  },
  'Which currency is used in {}?': { Japan: 'yen', India: 'rupee', China: 'yuan|renminbi', Russia: 'ruble|rouble', Germany: 'euro', Mexico: 'peso', Switzerland: 'franc', Thailand: 'baht' },
  'What is the chemical symbol of {}?': { oxygen: 'O', hydrogen: 'H', carbon: 'C', gold: 'Au', iron: 'Fe', sodium: 'Na', helium: 'He', silver: 'Ag', nitrogen: 'N', lead: 'Pb' },
  'Who wrote {}?': { 'Romeo and Juliet': 'Shakespeare', Hamlet: 'Shakespeare', 'War and Peace': 'Tolstoy', 'Don Quixote': 'Cervantes', 'Pride and Prejudice': 'Austen', 'Oliver Twist': 'Dickens' },
  '{}?': {
    'What do bees make': 'honey', 'Which planet is the largest of our solar system': 'Jupiter', 'What colour is the sky on a clear day': 'blue', 'On which continent is Egypt': 'Africa',
    'What is frozen water called': 'ice', 'Which star is closest to the Earth': 'Sun', 'In which country is the Eiffel Tower': 'France', 'Which ocean lies between Europe and America': 'Atlantic',
    'What do cows drink when they are young': 'milk', 'Which organ pumps blood through the body': 'heart', 'What gas do plants take in from the air': 'carbon dioxide|CO2', 'Which language is spoken in Brazil': 'Portuguese',
  },
}
const NAMES = 'Anna Ben Clara David Elena Frank Grace Henry Irene Jonas Karin Leo Maria Nina Oscar Paula Robert Sara Thomas Vera'.split(' ')
const SURNAMES = 'Weber Carter Lopez Novak Olsen Rossi Silva Tanaka Miller Dubois Meyer Kowalski Brown Garcia Jensen Walker'.split(' ')
const CITIES = 'Lisbon Oslo Hamburg Madrid Dublin Vienna Boston Prague Milan Geneva Toronto Bristol Lyon Athens Dallas Zurich'.split(' ')
const GOODS = 'lamps,chairs,notebooks,desk fans,pencils,carpets,mirrors,bicycles,teapots,umbrellas,hammers,blankets,candles,printers,ladders,helmets'.split(',')
const COLOURS = 'red blue green white black yellow'.split(' ')
const THINGS = 'hotel room,soup,phone,film,train ride,coffee,book,haircut,keyboard,jacket,museum tour,pizza,concert,taxi,bed,camera,garden tour,lamp,salad,boat trip'.split(',')
const PRAISE = [
  'was wonderful and I would buy it again', 'was excellent and everybody was friendly', 'made us very happy', 'was perfect from start to end', 'was lovely and well worth the money',
  'was great, the best I ever had', 'was a pleasure and my kids loved it', 'was beautiful and better than I had hoped',
]
const BLAME = [
  'was terrible and I want my money back', 'was awful and the people were rude', 'made us very angry', 'was a disaster from start to end', 'was disappointing and far too expensive',
  'was bad, the worst I ever had', 'was broken and nobody helped us', 'was dirty and smelled of smoke',
]

/** Mulberry32. */
export function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

const pick = (list, random) => list[Math.floor(random() * list.length)]
/** Every fourth is held out. */
const part = (list, heldOut) => list.filter((_, at) => (at % 4 === 3) === heldOut)
const parsed = text => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // not JSON: that is what was asked
  }
}
const same = (value, wanted) => String(value).trim().toLowerCase() === String(wanted).toLowerCase()

function fact(random, heldOut) {
  const all = Object.entries(FACTS).flatMap(([form, facts]) => Object.entries(facts).map(([about, answer]) => ({ question: form.replace('{}', about), answer })))
  const { question, answer } = pick(part(all, heldOut), random)
  // Symbols of elements are told apart by their case only.
  const named = new RegExp(`\\b(${answer})\\b`, /^[A-Z][a-z]?$/.test(answer) ? '' : 'i')
  return { question, maxTokens: 20, grade: text => Number(named.test(text) && parsed(text) === undefined && !text.trim().startsWith('{')) }
}

function sum(random, heldOut) {
  const [a, b] = [1 + Math.floor(random() * 12), 1 + Math.floor(random() * 12)]
  if (((a * 13 + b) % 4 === 3) !== heldOut) return sum(random, heldOut)
  const [question, result] = pick([[`What is ${a} plus ${b}?`, a + b], [`What is ${a} + ${b}?`, a + b], [`Calculate ${a} * ${b}.`, a * b], [`What is ${a} times ${b}?`, a * b]], random)
  return { question, maxTokens: 20, grade: text => Number(!text.trim().startsWith('{') && text.replaceAll(',', '').match(/-?\d+/g)?.at(-1) === String(result)) }
}

function review(random, heldOut) {
  const label = random() < 0.5 ? 'positive' : 'negative'
  const text = `The ${pick(part(THINGS, heldOut), random)} ${pick(label === 'positive' ? PRAISE : BLAME, random)}.`
  const question = pick([`Is this review positive or negative? Answer with one word. Review: ${text}`, `Review: ${text} Is this review positive or negative? Answer with one word.`], random)
  return { question, maxTokens: 8, grade: answer => Number(answer.toLowerCase().replaceAll(/[^a-z]/g, '') === label) }
}

function extraction(random, heldOut) {
  const one = list => pick(part(list, heldOut), random)
  const [name, city, age] = [`${one(NAMES)} ${one(SURNAMES)}`, one(CITIES), 20 + Math.floor(random() * 60)]
  const [item, quantity] = [`${pick(COLOURS, random)} ${one(GOODS)}`, 2 + Math.floor(random() * 60)]
  const [text, wanted] = pick([
    [`${name} is ${age} years old and lives in ${city}.`, { name, age, city }],
    [`${name} moved to ${city} last year.`, { name, city }],
    [`${name} from ${city} turned ${age} yesterday.`, { name, city, age }],
    [`Please send ${quantity} ${item} to ${city}.`, { item, quantity, city }],
  ], random)
  const keys = Object.keys(wanted)
  const listed = `${keys.slice(0, -1).join(', ')} and ${keys.at(-1)}`
  const question = pick([`Return a JSON object with the keys ${listed} for this sentence: ${text}`, `Extract ${listed} as JSON: ${text}`, `Read the message and answer with JSON only, keys ${listed}: ${text}`], random)
  const grade = answer => {
    const value = parsed(answer)
    if (typeof value !== 'object' || value === null) return 0
    return Number(keys.every(key => same(value[key], wanted[key])))
  }
  return { question, maxTokens: 40, grade }
}

const KINDS = { facts: fact, sums: sum, reviews: review, extraction }
export const KIND_NAMES = Object.keys(KINDS)

export function taskOf(kind, random, heldOut = false) {
  return { kind, ...KINDS[kind](random, heldOut) }
}

/** `count` of each kind. */
export const heldOutTasks = (count, random) => KIND_NAMES.flatMap(kind => Array.from({ length: count }, () => taskOf(kind, random, true)))
/** Kinds as they come. */
export const stream = (count, random) => Array.from({ length: count }, () => taskOf(pick(KIND_NAMES, random), random))
