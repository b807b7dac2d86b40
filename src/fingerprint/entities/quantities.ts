/** Amounts of money, numbers with units, and plain numbers, in digits or words. */
import { eachMatch, type Spans } from './spans.ts'

const DIGITS = String.raw`\d{1,3}(?:[,.']\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d+)?`
const SCALE = String.raw`(?: ?(?:thousand|million|billion|trillion|mn|bn|[kKmM](?![\w])))`
const CURRENCY_SIGN = '[$€£¥₹₩₽₿]|US\\$|A\\$|C\\$|HK\\$|R\\$'
const CURRENCY_WORD =
  '(?:dollars?|bucks|euros?|pounds?(?: sterling)?|yen|yuan|rupees?|cents?|pence|francs?|pesos?|rubles?|crowns?|won|USD|EUR|GBP|JPY|CNY|INR|CHF|CAD|AUD|KRW|SEK|NOK|DKK|PLN|BRL|MXN|BTC|ETH)'
const WORD =
  '(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)'
const WORDS = `(?:(?:a )?${WORD}(?:[ -](?:and )?${WORD})*)`

const MONEY = new RegExp(
  [
    `(?:${CURRENCY_SIGN}) ?(?:${DIGITS})${SCALE}?`,
    `(?<![\\w.,])(?:${DIGITS})${SCALE}? ?(?:${CURRENCY_SIGN})(?!\\d)`,
    `(?<![\\w.,])(?:${DIGITS})${SCALE}? ?${CURRENCY_WORD}\\b`,
    `\\b${WORDS} ${CURRENCY_WORD}\\b`,
    `\\b(?:USD|EUR|GBP|JPY|CHF|CAD|AUD|INR) ?(?:${DIGITS})${SCALE}?`,
  ].join('|'),
  'gi',
)
/** "pound" is a weight and "won" a verb unless money is meant. */
const NOT_MONEY = /\b(?:won|crowns?|cents?)$/i

const UNIT = String.raw`(?:[kKMGTP]i?[bB](?:\/s|ps)?|bytes?|bits?|[mµun]?s(?:ec(?:ond)?s?)?|seconds?|minutes?|mins?|hours?|hrs?|h|days?|nights?|weeks?|months?|years?|[kcmµn]?m|km\/h|kph|mph|m\/s|miles?|meters?|metres?|feet|foot|ft|inch(?:es)?|yards?|[kmµ]?g|kilos?|tons?|tonnes?|lbs?|pounds?|ounces?|oz|ml|l|liters?|litres?|gallons?|cups?|tablespoons?|teaspoons?|tbsp|tsp|[kMG]?Hz|rpm|fps|[kMG]?W|kWh|watts?|volts?|V|amps?|mAh|°[CF]|degrees?(?: (?:celsius|fahrenheit))?|K|px|pixels?|dpi|percent|%|tokens?|users?|requests?|rps|qps|x|ppm|dB|mol|[kM]?Pa|psi|calories|kcal|stars?)`
const FRACTION = String.raw`\d{1,3}\/\d{1,3}`
const QUANTITY = new RegExp(
  `(?<![\\w.,/$€£:-])(?:[-+]?(?:${DIGITS})(?:e[-+]?\\d+)?|${FRACTION}) ?${UNIT}(?![\\w/])`,
  'g',
)
const PERCENT = new RegExp(`(?<![\\w.,])[-+]?(?:${DIGITS}) ?%`, 'g')
const PLAIN = new RegExp(
  `(?<![\\w/.,:#-])(?:${FRACTION}|[-+]?(?:${DIGITS})(?:e[-+]?\\d+)?${SCALE}?)(?![\\w/]|[.:,]\\d)`,
  'g',
)
const SPELT = new RegExp(
  `(?<![-\\w])${WORDS}(?![-\\w])(?: ?(?:percent|${'degrees|hours?|minutes?|days?|nights?|weeks?|months?|years?|miles?|stars?'}))?`,
  'gi',
)

export function findMoney(spans: Spans): void {
  eachMatch(MONEY, spans.text, ({ index, 0: found }) => {
    if (NOT_MONEY.test(found) && !/(?:\d|\w) cents?$/i.test(found)) return
    spans.add('money', index, index + found.trimEnd().length)
  })
}

export function findNumbers(spans: Spans): void {
  const { text } = spans
  const add = ({ index, 0: found }: RegExpExecArray): void => void spans.add('number', index, index + found.trimEnd().length)
  if (/\d/.test(text)) {
    eachMatch(PERCENT, text, add)
    eachMatch(QUANTITY, text, add)
    eachMatch(PLAIN, text, add)
  }
  eachMatch(SPELT, text, (match) => {
    // a lone "one" is a pronoun more often than a number
    if (!/^(?:a )?(?:one|hundred|thousand|million|billion)$/i.test(match[0])) add(match)
  })
}
