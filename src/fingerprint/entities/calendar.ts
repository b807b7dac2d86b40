/**
 * Dates and times as people write them in English, and as machines do. A month or weekday that is also a word ("may", "sun")
 * counts only beside a number, an article of time ("next", "on") or in full.
 */
import { eachMatch, type Spans } from './spans.ts'

const MONTH =
  '(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)'
const ORDINAL_WORD =
  '(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|twenty[ -](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|thirtieth|thirty[ -]first)'
const DAY_ORDINAL = `(?:[0-3]?\\d(?:st|nd|rd|th)|${ORDINAL_WORD})`
const DAY = `(?:${DAY_ORDINAL}|[0-3]?\\d)`
const WEEKDAY = '(?:mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?)'
const SHORT_WEEKDAY = '(?:mon|tues?|weds?|thu(?:rs?)?|fri|sat|sun)'
const YEAR = "(?:1[6-9]\\d\\d|20\\d\\d|'\\d\\d)"
const OF_MONTH = '(?: of (?:this|next|the|last|the next|the current|the following) (?:month|week|year))'

const DATES = [
  String.raw`\b(?:1[6-9]|20)\d\d-[01]\d-[0-3]\d(?=\b|T)`,
  String.raw`(?<![\d./-])(?:[0-3]?\d[/][0-3]?\d[/](?:\d{4}|\d{2})|[0-3]?\d\.[01]?\d\.(?:\d{4}|\d{2})|[0-3]?\d-[01]?\d-\d{4}|(?:1[6-9]|20)\d\d/[01]?\d/[0-3]?\d)(?![\d/-])`,
  // March 3rd, 2024; Mar 3; March the third; March of 2020
  String.raw`\b(?:early |late |mid[- ])?${MONTH}\.?,? (?:the )?${DAY}(?![\d:]|\.\d| ?(?:am|pm|a\.m|p\.m|dollars|people|percent|%))(?:,? ${YEAR})?\b`,
  // 3rd of March 2024; 4 July 1990
  String.raw`\b(?:the )?${DAY} (?:of )?${MONTH}\b\.?(?:,? ${YEAR})?`,
  String.raw`\b${MONTH},? (?:of )?(?:1[6-9]|20)\d\d\b`,
  // the 10th of this month; the 12th
  String.raw`\b${DAY_ORDINAL}${OF_MONTH}`,
  String.raw`(?<=\b(?:the|on|until|till|by|from|for|to|before|after|around|is|leaving|date|starting|return|returning|day|and|or|,) )[0-3]?\d(?:st|nd|rd|th)\b(?! (?:floor|street|st\b|avenue|ave\b|century|place|grade|time|edition|row|class|ave|birthday|anniversary|and [a-z]+ st))`,
  String.raw`(?<![\w.])(?:[12]?\d|3[01])(?:st|nd|rd|th)(?![\w]| (?:floor|street|st\b|avenue|ave\b|century|place|grade|time|edition|row|class|birthday|anniversary|and |of the [a-ln-z]))`,
  // weekdays
  String.raw`\b(?:(?:this|next|last|the following|following|coming|this coming|every|each|early|late) )?${WEEKDAY}(?: (?:next|after next|this) week)?\b`,
  String.raw`\b(?:on|this|next|last|until|by|every) ${SHORT_WEEKDAY}\b`,
  String.raw`\b(?:the )?day (?:after (?:tomorrow|the next|next)|before yesterday|after)\b`,
  String.raw`\b(?:today|tomorrow|yesterday|tonight)\b`,
  String.raw`\b(?:(?:this|next|last|the next|the coming|the following|coming|early next|later this|end of (?:the|this|next)|past|the past|the last) )(?:week(?:end)?|month|year|quarter|summer|winter|spring|fall|autumn|decade|century|semester|season|\d+ (?:days|weeks|months|years))\b`,
  String.raw`\b(?:a|an|one|two|three|four|five|six|seven|\d+) (?:days?|weeks?|months?|years?) (?:from (?:now|today|tomorrow)|ago|later|hence)\b`,
  String.raw`\bin (?:a|one|two|three|four|five|six|seven|\d+) (?:days?|weeks?|months?|years?)\b`,
  String.raw`\b(?:early|late|mid)[- ](?:${MONTH}|1[89]\d\ds?|20\d\ds?)\b`,
  String.raw`\b(?:january|february|april|june|july|august|september|october|november|december)\b`,
  String.raw`(?<=\b(?:in|of|by|since|until|during|next|last|this|early|late|mid|for|from|to) )(?:march|may)\b(?! (?:be|have|not|i|you|we|they|he|she|it|the|on|in)\b)`,
  String.raw`\b(?:1[6-9]|20)\d0s\b`,
  String.raw`(?<=\b(?:in|since|of|by|from|until|before|after|during|year|to|and|born|around|circa|between|\() ?)(?:1[5-9]\d\d|20[0-4]\d)(?![\w.,]*\d| ?(?:people|users|dollars|euros|items|%|km|kg|ms|gb|mb))\b`,
  String.raw`\b(?:christmas(?: eve| day)?|thanksgiving|easter|halloween|new year'?s?(?: eve| day)|valentine'?s day|independence day|labor day|memorial day)\b`,
]

const PART_OF_DAY = '(?:morning|afternoon|evening|night|noon|midnight)'
const HOUR_WORD = '(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)'
const MERIDIEM = String.raw`(?: ?(?:a\.m\.?|p\.m\.?|am|pm|AM|PM)(?!\w))`
const IN_THE = String.raw`(?: (?:in the|at|this|in)? ?(?:early |late )?${PART_OF_DAY})`
const CLOCK = '(?:[01]?\\d|2[0-4])'

const TIMES = [
  String.raw`(?<![\d:.])${CLOCK}:[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:${MERIDIEM}|${IN_THE}\b)?(?![\d:])`,
  String.raw`\b(?:a )?(?:half|quarter|\d{1,2}|five|ten|twenty|twenty[- ]five)(?: minutes?)? (?:past|to|till|after|before) (?:${CLOCK}|${HOUR_WORD}|noon|midnight)\b(?:${MERIDIEM}|${IN_THE}\b| o'?clock)*`,
  String.raw`\b(?:${CLOCK}|${HOUR_WORD}) o['’]?clock\b(?:${MERIDIEM}|${IN_THE}\b)?`,
  String.raw`\b(?:${CLOCK}|${HOUR_WORD})(?:[.:]?[0-5]\d)?(?:${MERIDIEM})`,
  String.raw`\b(?:${CLOCK}|${HOUR_WORD}|${HOUR_WORD}[ -](?:fifteen|thirty|forty[- ]five))${IN_THE}\b`,
  String.raw`\b${HOUR_WORD}[ -](?:fifteen|thirty|forty[- ]five)\b(?! (?:minutes|dollars|people|percent))`,
  // "evening 4:30", "morning 10"
  String.raw`\b${PART_OF_DAY} (?:at )?(?:half past )?${CLOCK}(?::[0-5]\d| o'?clock)?(?![\d:]|\.\d|(?:st|nd|rd|th))(?:${MERIDIEM})?`,
  String.raw`(?<=\b(?:at|around|by|about|until|till|before|after) )(?:${CLOCK}|${HOUR_WORD})(?=[,.?!]|$| (?:on|for|tomorrow|today|tonight|please|and|this|next))(?!\.\d)`,
  String.raw`\b(?:(?:early|late|mid)[- ](?:morning|afternoon|evening|night)|noon|midnight|midday|morning|afternoon|evening|lunch ?time|dinner ?time|right now)\b`,
]

const DATE = new RegExp(DATES.map((pattern) => `(?:${pattern})`).join('|'), 'gi')
/** Longer forms first: an alternation takes the first that fits, and dates are taken one pattern at a time. */
const DATE_PATTERNS = DATES.map((pattern) => new RegExp(pattern, 'gi'))
const TIME_PATTERNS = TIMES.map((pattern) => new RegExp(pattern, 'gi'))
const TIME = new RegExp(TIMES.map((pattern) => `(?:${pattern})`).join('|'), 'gi')
const GREETING = /\bgood (?:morning|afternoon|evening|night)\b/gi

export function findCalendar(spans: Spans): void {
  const { text } = spans
  if (TIME.test(text)) {
    TIME.lastIndex = 0
    const greetings: number[] = []
    eachMatch(GREETING, text, ({ index, 0: found }) => greetings.push(index, index + found.length))
    for (const pattern of TIME_PATTERNS) {
      eachMatch(pattern, text, ({ index, 0: found }) => {
        if (greetings.some((start, at) => at % 2 === 0 && index < greetings[at + 1]! && index >= start)) return
        spans.add('time', index, index + found.trimEnd().length)
      })
    }
  }
  DATE.lastIndex = 0
  if (!DATE.test(text)) return
  for (const pattern of DATE_PATTERNS) {
    eachMatch(pattern, text, ({ index, 0: found }) => {
      const start = index + (found.length - found.trimStart().length)
      spans.add('date', start, index + found.trimEnd().length)
    })
  }
}
