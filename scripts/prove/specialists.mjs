// Four models made of one: SmolLM2-135M as it is, and the same weights behind a grammar and a prompt of their own.
//
// A grammar decides which tokens may come next, whatever is asked, so each specialist is sure of its form and useless for what
// the others do: one flat JSON object, one of two words, one equation. The plain model writes prose and follows none of these
// forms. A gateway is told nothing but the names, which are the engines' aliases (`/v1/models`).

/** A chat template with messages before those that are asked. */
const template = before => [
  ...before.map(({ role, content }) => `{{- '<|im_start|>${role}\\n${content}<|im_end|>\\n' }}`),
  "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}",
  "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
].join('\n')
const shots = pairs => pairs.flatMap(([user, assistant]) => [{ role: 'user', content: user }, { role: 'assistant', content: assistant }])

/** COMMON_GRAMMAR_TYPE_USER of llama.cpp */
const OF_THE_USER = 1
const behind = (grammar, before) => ({ sampling: { grammar: { type: OF_THE_USER, grammar } }, chat_template: template(before) })

// Texts begin with a letter: else a quantity becomes part of the thing.
const ONE_OBJECT = `root ::= "{" pair ("," " " pair){0,2} "}"
pair ::= "\\"" [a-z]{1,12} "\\": " value
value ::= "\\"" [A-Za-z] [^"\\\\\\n]{0,30} "\\"" | [0-9]{1,6}`
const ONE_EQUATION = 'root ::= [0-9]{1,2} " " [+*] " " [0-9]{1,2} " = " [1-9] [0-9]{0,2}'
const ONE_LABEL = 'root ::= "positive" | "negative"'

// None of these people, things and pairs of numbers is held out (specialist-tasks.mjs).
const EXTRACTIONS = shots([
  ['Return a JSON object with the keys name, age and city for this sentence: Ruth Evans is 29 years old and lives in Madrid.', '{"name": "Ruth Evans", "age": 29, "city": "Madrid"}'],
  ['Read the message and answer with JSON only, keys item, quantity and city: Please send 5 grey tables to Paris.', '{"item": "grey tables", "quantity": 5, "city": "Paris"}'],
  ['Extract name and city as JSON: Peter Hill moved to London last year.', '{"name": "Peter Hill", "city": "London"}'],
  ['Extract name, city and age as JSON: Lucy Adams from Rome turned 44 yesterday.', '{"name": "Lucy Adams", "city": "Rome", "age": 44}'],
])
const SUMS = shots([
  ['What is 3 plus 5?', '3 + 5 = 8'], ['What is 6 times 7?', '6 * 7 = 42'], ['Calculate 8 * 5.', '8 * 5 = 40'], ['What is 8 + 5?', '8 + 5 = 13'],
  ['What is 9 + 7?', '9 + 7 = 16'], ['What is 12 times 4?', '12 * 4 = 48'], ['Calculate 7 * 7.', '7 * 7 = 49'], ['What is 11 plus 10?', '11 + 10 = 21'],
])
const REVIEWS = [{ role: 'system', content: 'You are a sentiment classifier. Answer positive or negative.' }]

export const MODELS = [
  { name: 'smollm2', parameters: {} },
  { name: 'smollm2-sums', parameters: behind(ONE_EQUATION, SUMS) },
  { name: 'smollm2-labels', parameters: behind(ONE_LABEL, REVIEWS) },
  { name: 'smollm2-json', parameters: behind(ONE_OBJECT, EXTRACTIONS) },
]
