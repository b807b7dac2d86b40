import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectRoot } from '../house/root.ts'
import { PAGE_FOLDER, pageModule } from './page-module.ts'

const source = (path: string): string => readFileSync(join(projectRoot(), path), 'utf8')
const modules = readdirSync(PAGE_FOLDER).filter((name) => name.endsWith('.js'))
const words = await pageModule<Record<'REASONS' | 'CACHE_VERDICTS' | 'FILTERS' | 'VERDICTS' | 'OUTCOMES' | 'DECIDED_BY', Record<string, string>>>('words.js')

test('every text is put in as text: no way to make markup of it is used', () => {
  for (const name of modules) {
    assert.doesNotMatch(source(`dashboard/${name}`), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|\beval\b|new Function/, name)
  }
})

test('the page and its modules load only what lies beside them', () => {
  const page = source('dashboard/index.html')
  for (const [, address] of page.matchAll(/(?:src|href)="([^"#][^"]*)"/g)) assert.ok(existsSync(join(PAGE_FOLDER, address!)), address)
  assert.doesNotMatch(page, /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/)
  assert.doesNotMatch(source('dashboard/style.css'), /@import|url\(/)
  for (const name of modules) {
    const text = source(`dashboard/${name}`)
    for (const [, target] of text.matchAll(/(?:from|import)\s*\(?'([^']+)'/g)) assert.ok(target!.startsWith('./') && existsSync(join(PAGE_FOLDER, target!)), `${name}: ${target!}`)
    assert.doesNotMatch(text, /https?:\/\//, name)
  }
})

test('the key is kept in the session of the tab and nowhere else', () => {
  for (const name of modules) assert.doesNotMatch(source(`dashboard/${name}`), /localStorage|document\.cookie|indexedDB/, name)
})

/** The strings of a union, an array of names or the like, in a piece of source. */
const namesIn = (text: string, from: RegExp, until: RegExp): string[] => {
  const begin = text.search(from)
  const piece = text.slice(begin, begin + text.slice(begin).search(until))
  return [...piece.replace(/\/\/.*$/gm, '').matchAll(/'([\w-]+)'/g)].map(([, name]) => name!)
}

test('there is a sentence for each reason, cache verdict, filter, verdict on a grade and outcome that the gateway tells', () => {
  const receipt = source('src/model/receipt.ts')
  const candidates = source('src/schedule/candidates.ts')
  const filters = source('src/schedule/filters.ts')
  const expected = {
    REASONS: namesIn(source('src/model/decision.ts'), /export type DecisionReason/, /\n\n/),
    CACHE_VERDICTS: namesIn(receipt, /export type CacheVerdict/, /\n\n/),
    FILTERS: [...[...filters.matchAll(/\{ name: '(\w+)'/g)].map(([, name]) => name!), ...[...candidates.matchAll(/narrow\('(\w+)'/g)].map(([, name]) => name!)],
    VERDICTS: namesIn(source('src/http/outcome-routes.ts'), /readonly result: 'accepted'/, /;/),
    DECIDED_BY: namesIn(source('src/model/asking.ts'), /export type DecidedBy/, /\n\n/),
    OUTCOMES: namesIn(receipt, /readonly outcome:/, /\n/),
  }
  for (const [name, keys] of Object.entries(expected)) {
    assert.ok(keys.length >= 3, `${name}: ${keys.join()}`)
    assert.deepEqual(Object.keys(words[name as keyof typeof words]).sort(), [...new Set(keys)].sort(), name)
  }
})

test('the page takes as many outcomes for an edit as the route', async () => {
  const { MOST_OUTCOMES } = await pageModule<{ MOST_OUTCOMES: number }>('expertise-rows.js')
  assert.match(source('src/http/expertise-routes.ts'), new RegExp(`MOST_OBSERVATIONS = ${MOST_OUTCOMES}\\b`))
})
