/** Capitals that an engine is asked for, graded by whether the name is said, with the probability of the tokens it answered in. */
import { isObject, type JsonObject, type JsonValue } from '../../src/model/json.ts'
import { confidenceOf } from '../../src/upstream/ensemble/doubt.ts'

export type Graded = { readonly isRight: boolean; readonly confidence: number }

const CAPITALS = `France Paris, Japan Tokyo, Italy Rome, Spain Madrid, Germany Berlin, Portugal Lisbon, Greece Athens, Poland Warsaw, Austria Vienna,
Hungary Budapest, Norway Oslo, Sweden Stockholm, Finland Helsinki, Denmark Copenhagen, Ireland Dublin, Belgium Brussels, Russia Moscow,
Ukraine Kyiv, Turkey Ankara, Egypt Cairo, Kenya Nairobi, Nigeria Abuja, Ghana Accra, Morocco Rabat, Ethiopia Addis, Senegal Dakar, Uganda Kampala,
China Beijing, India Delhi, Pakistan Islamabad, Bangladesh Dhaka, Nepal Kathmandu, Thailand Bangkok, Vietnam Hanoi, Indonesia Jakarta,
Malaysia Kuala, Philippines Manila, Australia Canberra, Canada Ottawa, Mexico Mexico, Cuba Havana, Brazil Brasília, Argentina Buenos, Chile Santiago,
Peru Lima, Colombia Bogotá, Ecuador Quito, Uruguay Montevideo, Iran Tehran, Iraq Baghdad, Israel Jerusalem, Jordan Amman, Lebanon Beirut, Qatar Doha,
Mongolia Ulaanbaatar, Kazakhstan Astana, Georgia Tbilisi, Armenia Yerevan, Romania Bucharest, Bulgaria Sofia, Serbia Belgrade, Croatia Zagreb,
Slovenia Ljubljana, Slovakia Bratislava, Latvia Riga, Lithuania Vilnius, Estonia Tallinn, Iceland Reykjavik, Malta Valletta, Cyprus Nicosia,
Tunisia Tunis, Algeria Algiers, Libya Tripoli, Sudan Khartoum, Zambia Lusaka, Zimbabwe Harare, Angola Luanda, Namibia Windhoek, Botswana Gaborone, Fiji Suva`

export async function askCapitals(url: string): Promise<Graded[]> {
  const graded: Graded[] = []
  for (const pair of CAPITALS.split(',')) {
    const [country, capital] = pair.trim().split(' ')
    const answer = await ask(url, `What is the capital of ${country}?`)
    if (answer !== null) graded.push({ isRight: plain(answer.text).includes(plain(capital!)), confidence: answer.confidence })
  }
  return graded
}

/** Without accents. */
const plain = (text: string): string => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()

/** Null where the engine gave no log probabilities. */
async function ask(url: string, question: string): Promise<{ readonly text: string; readonly confidence: number } | null> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'any', messages: [{ role: 'user', content: question }], temperature: 0, max_tokens: 12, logprobs: true, top_logprobs: 1 }),
    signal: AbortSignal.timeout(60_000),
  })
  const body = (await response.json()) as JsonObject
  const [choice] = (body['choices'] ?? []) as readonly JsonObject[]
  const { message, logprobs } = choice ?? {}
  const entries = isObject(logprobs) && Array.isArray(logprobs['content']) ? (logprobs['content'] as readonly JsonValue[]) : []
  const confidence = confidenceOf(entries)
  return isObject(message) && confidence !== null ? { text: String(message['content']), confidence } : null
}
