/**
 * What machines name: URLs, e-mail addresses, files, code symbols and identifiers. Rules, in the order in which they claim
 * characters; each is skipped when the text lacks the mark that it needs. No pattern nests one repetition in another
 * over the same characters, so time is linear.
 */
import { eachMatch, type Spans } from './spans.ts'

const SCHEME = /\b(?:https?|ftp|wss?|file|ssh|s3|git|redis|postgres(?:ql)?|mongodb):\/\/[^\s<>"'`]+/gi
const WWW = /\bwww\.[^\s<>"'`]+/gi
const DOMAIN =
  /(?<![\w@./-])(?:[a-z0-9][a-z0-9-]*\.){1,4}(?:com|org|net|io|dev|edu|gov|mil|info|biz|ai|app|cloud|me|tv|eu|uk|de|fr|nl|ch|at|it|es|se|jp|cn|ru|br|ca|au|nz|us|example|local)(?::\d{2,5})?(?:\/[^\s<>"'`]*)?(?![\w@(])/gi
const EMAIL = /(?<![\w.+-])[\w.+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+/gi
const BACKTICK = /`([^`\n]{1,120})`/g

const EXTENSIONS =
  'txt|md|mdx|rst|json|jsonl|yaml|yml|toml|ini|cfg|conf|xml|html?|s?css|less|m?[jt]sx?|cjs|py|pyi|ipynb|rb|go|rs|java|kt|swift|scala|[ch](?:pp|xx)?|cc|cs|php|sh|bash|zsh|ps1|bat|sql|csv|tsv|xlsx?|docx?|pptx?|pdf|png|jpe?g|gif|svg|webp|ico|mp[34]|wav|mov|zip|tar|gz|tgz|bz2|xz|7z|rar|exe|dll|so|dylib|log|lock|lua|pl|vue|svelte|env|gguf|onnx|safetensors|pt|bin|iso|dmg|apk|jar|war|proto|parquet|arrow|bak|tmp|key|pem|crt|cert|tf|tex|bib|odt|ods|rtf|epub|ics|eml|vhd|hs|ex|exs|erl|clj|dart|r|jl'
const WINDOWS = /(?<!\w)(?:[A-Za-z]:\\|\\\\[\w.-]+\\)[^\s"<>|*?,;]+/g
const ROOTED = /(?<![\w/:.~<*)\\])(?:~|\.{1,2})?\/(?:[\w.@+-]+\/)*[\w.@+-]*/g
const RELATIVE = /(?<![\w@/.~-])(?:\.?[\w@-][\w.@-]*\/)+[\w.@-]*/g
const FILE_NAME = new RegExp(String.raw`(?<![\w@/.~-])(?:[\w-]+\.)+(?:${EXTENSIONS})(?![\w(]|\.\w)`, 'g')
const ENDS_IN_EXTENSION = new RegExp(String.raw`\.(?:${EXTENSIONS})$`, 'i')
const KNOWN_FILE =
  /(?<![\w./])(?:Dockerfile|Makefile|Gemfile|Procfile|Jenkinsfile|Vagrantfile|Rakefile|\.(?:gitignore|gitattributes|dockerignore|npmrc|bashrc|zshrc|profile|vimrc|editorconfig|eslintrc|prettierrc|htaccess|env|ssh|github|gitmodules))(?![\w])/g
const ROOTS = /^\/(?:etc|var|usr|home|tmp|opt|bin|sbin|dev|proc|root|mnt|srv|lib|sys|run|boot|media|data|app|Users|Library)\b/
const FOLDERS =
  /(?:^|\/)(?:src|lib|tests?|docs?|bin|app|apps|pkg|packages|node_modules|scripts|configs?|assets|public|build|dist|include|internal|cmd|vendor|tools|examples|data|models|components|utils|server|client|static|templates|\.github|\.ssh)\//

const CALL = /(?<![\w.$])[A-Za-z_$][\w$]*(?:(?:\.|::|->)[A-Za-z_$~][\w$]*)*\([^()\n]{0,60}\)/g
const SCOPED = /(?<![\w:])[A-Za-z_]\w*(?:(?:::|->)~?[A-Za-z_]\w*)+/g
const DOTTED = /(?<![\w.@$-])[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)+(?![\w(])/g
const DOTTED_ROOTS =
  /^(?:os|sys|self|this|process|console|np|pd|plt|torch|tf|json|JSON|math|Math|document|window|module|java|javax|org|System|re|random|logging|requests|req|res|ctx|app|db|fs|path|string|array|list|dict|Object|Array|String|Promise|std|fmt|http|http2|collections|datetime|numpy|pandas|sklearn|scipy|nn|cv2|err|error|event|props|state|config|request|response)\./
const SNAKE = /(?<![\w./@-])_{0,2}[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+_{0,2}(?![\w@])/g
const CAMEL = /(?<![\w.@/-])(?:[a-z]+[0-9]*[A-Z][A-Za-z0-9]*|[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+|[A-Z]{2,}[a-z]+[A-Z][A-Za-z0-9]*)(?![\w@])/g
const ERROR_NAME = /\b(?:[A-Z][a-z]+(?:Error|Exception|Warning)|SIG(?:KILL|TERM|SEGV|INT|HUP|PIPE|ABRT)|E(?:NOENT|CONN(?:RESET|REFUSED|ABORTED)|ACCES|PERM|PIPE|EXIST|INVAL|AGAIN|ADDRINUSE|TIMEDOUT|NOTFOUND|HOSTUNREACH|NETUNREACH|MFILE|BUSY|ISDIR|NOTDIR|NOSPC|OF|NOTEMPTY|NOTSUP|PROTO|AI_AGAIN))\b/g
const FLAG = /(?<![\w-])--[a-z][\w-]*\w/g
/** Written like code, but names of things. */
const NAMES_IN_CAMEL = new Set(
  'YouTube GitHub GitLab JavaScript TypeScript PayPal LinkedIn iPhone iPad iOS iPod iMac eBay macOS MacBook PowerPoint WhatsApp TikTok OpenAI ChatGPT DeepMind DeepSeek MySQL PostgreSQL MongoDB SQLite GraphQL CoffeeScript WordPress AirBnB FedEx HubSpot SalesForce SoundCloud DoorDash TripAdvisor MasterCard BestBuy HomeDepot LaTeX BibTeX NumPy SciPy PyTorch TensorFlow JetBrains IntelliJ OneDrive OneNote SharePoint AirPods PlayStation StarCraft SpaceX FaceTime FaceBook InstaGram BuzzFeed CrossFit HuffPost VMware DevOps SaaS IoT WiFi eBook eBooks eCommerce PhD LLaMA AirPlay BlackBerry QuickTime SeaWorld DreamWorks AlphaGo OkCupid NaN LoL PhDs'.split(' '),
)

const UUID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi
const HASH = /(?<![\w-])(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,64}(?![\w-])/g
const ADDRESS = /(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{2,5})?(?![\w.]*\d)/g
const PHONE = /(?<![\w.])(?:\+\d{1,3}[ -]?)?(?:\(\d{2,4}\)[ -]?)?\d{2,4}(?:[ -]\d{3,4}){1,3}(?![\w-]|\.\d)/g
const ISBN = /\b97[89](?:-\d+){3}-[\dX]\b/g
const TICKET = /(?<![\w#&/])#\d{1,9}\b/g
const KEYED = /(?<![\w-])[A-Z][A-Z0-9]{1,9}(?:-\d{1,12})+(?![\w-])/g
const KEYED_NAMES = /^(?:COVID|SARS|GPT|UTF|SHA|ISO|MD|RFC|HTTP|IPV|TCP|CO|AES|RSA|USB|BERT|BASE|MP|PS|LLAMA|QWEN|GEMMA|ASCII|OMEGA|VITAMIN|HDMI|DDR|AK|WW|T5|UP|TOP|PRE|POST|MI|SU|UN|RS|IEEE|SQL|ES|LTE|IP|WPA|SAT|NC|PG|H1N1)-/
const MIXED = /(?<![\w@#./-])#?(?=[A-Z0-9]*\d[A-Z0-9]*\d)(?=[0-9]*[A-Z])[A-Z0-9]{5,34}(?![\w@-])/g
const UNIT_NUMBER = /^\d+(?:GB|MB|KB|TB|GHZ|MHZ|KHZ|HZ|KG|KM|CM|MM|ML|MPH|FPS|AM|PM|PX|DPI|RPM|KW|KWH|MW|MAH)$/
const LONG_NUMBER = /(?<![\w.,$€£¥-])\d{7,24}(?![\w.,]*\d|\w)/g
const VERSION = /(?<![\w.])(?:v\d+(?:\.\d+){1,3}|\d+(?:\.\d+){2,3})(?:-[a-z]+[.\d]*)?(?![\w]|\.\d)/g
const PREFIXED = /(?<![\w-])[a-z]{2,12}_(?=[a-z0-9]*\d)[A-Za-z0-9]{8,64}(?!\w)/g
/** A run without white space so long and so mixed is encoded data. */
const ENCODED = /(?<![^\s"'(=:,])(?=[^\s]{0,200}[a-z])(?=[^\s]{0,200}[A-Z])[A-Za-z0-9+/=_-]{36,}(?![^\s"'),.;])/g
const ENDINGS = /[.,;:!?'"\]}>*]+$/

export function findTechnical(spans: Spans): void {
  const { text } = spans
  const marks = marksOf(text)
  if (marks.backtick) {
    eachMatch(BACKTICK, text, (match) => {
      const start = match.index + 1
      spans.add('code', start, start + match[1]!.length)
    })
  }
  if (marks.slash && marks.colon) eachMatch(SCHEME, text, (match) => addUrl(spans, match))
  if (marks.long) eachMatch(ENCODED, text, ({ index, 0: run }) => encoded(run) && spans.block(index, index + run.length))
  if (marks.at) eachMatch(EMAIL, text, ({ index, 0: found }) => void spans.add('email', index, index + found.length))
  if (marks.dot) {
    eachMatch(WWW, text, (match) => addUrl(spans, match))
    // a name of a language that ends like a domain or file is neither
    eachMatch(PRODUCT_JS, text, ({ index, 0: found }) => void spans.add('product', index, index + found.length))
    eachMatch(DOMAIN, text, (match) => {
      if (!DOTTED_ROOTS.test(match[0])) addUrl(spans, match)
    })
  }
  findFiles(spans, marks)
  if (marks.digit) findIds(spans, marks)
  findCode(spans, marks)
}

const PRODUCT_JS = /\b(?:Node|Next|Vue|React|Express|Three|D3|Nuxt|Chart|Ember|Backbone|Angular|Deno|Alpine|Discord)\.js\b|\bASP\.NET\b|\.NET\b/g

function addUrl(spans: Spans, { index, 0: found }: RegExpExecArray): void {
  let url = found.replace(ENDINGS, '')
  // a closing bracket belongs to the address when it was opened in it
  while (url.endsWith(')') && !url.includes('(')) url = url.slice(0, -1).replace(ENDINGS, '')
  spans.add('url', index, index + url.length)
}

function findFiles(spans: Spans, marks: Marks): void {
  const { text } = spans
  const add = (index: number, path: string): void => {
    const clean = path.replace(/[.,;:!?)]+$/, '')
    spans.add('file', index, index + clean.length)
  }
  if (marks.backslash) eachMatch(WINDOWS, text, ({ index, 0: path }) => add(index, path))
  if (marks.slash) {
    eachMatch(ROOTED, text, ({ index, 0: path }) => {
      const anchored = !path.startsWith('/')
      const deep = path.indexOf('/', 1) > 1 && path.length > 4
      const plain = ROOTS.test(path) || ENDS_IN_EXTENSION.test(path) || (deep && !path.startsWith('//'))
      if (path.length > 2 && (anchored || plain)) add(index, path)
    })
    eachMatch(RELATIVE, text, ({ index, 0: path }) => {
      const clean = path.replace(/[.,;:!?]+$/, '')
      if (/[A-Za-z]/.test(clean) && (ENDS_IN_EXTENSION.test(clean) || FOLDERS.test(clean))) add(index, clean)
    })
  }
  if (marks.dot) eachMatch(FILE_NAME, text, ({ index, 0: name }) => {
    if (!DOTTED_ROOTS.test(name) && !/^\d+\.\w$/.test(name)) add(index, name)
  })
  if (marks.dot || marks.capital) eachMatch(KNOWN_FILE, text, ({ index, 0: name }) => add(index, name))
}

function findIds(spans: Spans, marks: Marks): void {
  const { text } = spans
  const take = (pattern: RegExp, fits: (found: string) => boolean = () => true): void =>
    eachMatch(pattern, text, ({ index, 0: found }) => {
      if (fits(found)) spans.add('id', index, index + found.length)
    })
  if (marks.dash) {
    take(UUID)
    take(ISBN)
  }
  if (marks.dot) take(ADDRESS)
  if (marks.dot) take(VERSION, (found) => !/^\d{1,2}\.\d{1,2}\.(?:\d{2}|\d{4})$/.test(found))
  if (marks.underscore) take(PREFIXED)
  take(HASH)
  if (marks.dash && marks.capital) take(KEYED, (found) => !KEYED_NAMES.test(found))
  take(PHONE, (found) => {
    const digits = found.replace(/\D/g, '').length
    return digits >= 7 && digits <= 15 && !/^\d{4}-\d{2}/.test(found)
  })
  if (marks.hash) take(TICKET)
  if (marks.capital) take(MIXED, (found) => !UNIT_NUMBER.test(found))
  take(LONG_NUMBER)
}

function findCode(spans: Spans, marks: Marks): void {
  const { text } = spans
  const take = (pattern: RegExp, fits: (found: string) => boolean = () => true): void =>
    eachMatch(pattern, text, ({ index, 0: found }) => {
      if (fits(found)) spans.add('code', index, index + found.length)
    })
  // "item(s)" is a plural, "well(known)" an aside: a call has code in it or arguments that are not one plain word
  if (marks.bracket) {
    take(CALL, (found) => {
      const open = found.indexOf('(')
      const name = found.slice(0, open)
      const inside = found.slice(open + 1, -1)
      return inside === '' || /[._$:>]|[a-z][A-Z]/.test(name) || (/[,="'\d[{]/.test(inside) && !/^[A-Z]/.test(name))
    })
  }
  if (marks.colon || marks.dash) take(SCOPED)
  if (marks.dot) take(DOTTED, (found) => DOTTED_ROOTS.test(found) || /[a-z][A-Z]|_|\$/.test(found))
  if (marks.underscore) {
    eachMatch(SNAKE, text, ({ index, 0: found }) => {
      const last = found.slice(found.lastIndexOf('_') + 1)
      const id = /^\d{3,}$/.test(last) || (/\d.*\d/.test(last) && /^[a-z0-9]{6,}$/i.test(last))
      spans.add(id ? 'id' : 'code', index, index + found.length)
    })
  }
  if (marks.capital) {
    take(ERROR_NAME)
    if (marks.hump) {
      take(CAMEL, (found) => !NAMES_IN_CAMEL.has(found) && !/^(?:Mc|Mac|De|La|Le|Van|Di|O)[A-Z][a-z]+$/.test(found) && !/^[A-Z]{2,}s$/.test(found))
    }
  }
  if (marks.dash) take(FLAG)
}

/** Base64 and the like; a path or a sentence written-together-with-dashes is not. */
const encoded = (run: string): boolean =>
  /\d/.test(run) && (/[a-z][A-Z][a-z]?[A-Z0-9]/.test(run) || run.endsWith('=')) && !/^[\w.-]*(?:\/[\w.-]+){2,}\.\w+$/.test(run)

type Marks = {
  digit: boolean
  capital: boolean
  hump: boolean
  slash: boolean
  backslash: boolean
  dot: boolean
  at: boolean
  colon: boolean
  dash: boolean
  underscore: boolean
  backtick: boolean
  bracket: boolean
  hash: boolean
  long: boolean
}

/** One pass that tells which rules can find anything. A dot or colon before white space is a full stop. */
function marksOf(text: string): Marks {
  const marks = {
    digit: false,
    capital: false,
    hump: false,
    slash: false,
    backslash: false,
    dot: false,
    at: false,
    colon: false,
    dash: false,
    underscore: false,
    backtick: false,
    bracket: false,
    hash: false,
    long: false,
  }
  let run = 0
  let previous = 32
  for (let place = 0; place < text.length; place++) {
    const code = text.charCodeAt(place)
    run = code <= 32 ? 0 : run + 1
    if (run >= 36) marks.long = true
    if (code >= 48 && code <= 57) marks.digit = true
    else if (code >= 65 && code <= 90) {
      marks.capital = true
      if (previous >= 97 && previous <= 122) marks.hump = true
    } else if (code === 46 && text.charCodeAt(place + 1) > 32) marks.dot = true
    else if (code === 47) marks.slash = true
    else if (code === 92) marks.backslash = true
    else if (code === 64) marks.at = true
    else if (code === 58) marks.colon = true
    else if (code === 45) marks.dash = true
    else if (code === 95) marks.underscore = true
    else if (code === 96) marks.backtick = true
    else if (code === 40) marks.bracket = true
    else if (code === 35) marks.hash = true
    previous = code
  }
  return marks
}
