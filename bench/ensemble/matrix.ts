/** Questions with the score of each model, from the development data; texts are not kept. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export type Question = { readonly topic: string; readonly scores: readonly number[] }
export type Matrix = { readonly name: string; readonly models: readonly string[]; readonly questions: readonly Question[] }

/** Those of the two data sets that are there. */
export function readMatrices(folder: string): Matrix[] {
  const mmlu = join(folder, 'mmlu-pro-topics-quarter.jsonl')
  const router = join(folder, 'llmrouter-outcomes-train-half.jsonl')
  const found: Matrix[] = []
  if (existsSync(mmlu)) {
    const models = JSON.parse(readFileSync(mmlu.replace('.jsonl', '.models.json'), 'utf8')) as string[]
    const questions = lines(mmlu).map((line) => {
      const { category, correct } = JSON.parse(line) as { category: string; correct: string }
      return { topic: category, scores: [...correct].map(Number) }
    })
    found.push({ name: 'MMLU-Pro', models, questions })
  }
  if (existsSync(router)) {
    const rows = lines(router).map((line) => JSON.parse(line) as { task: string; scores: Record<string, number> })
    const models = Object.keys(rows[0]!.scores)
    found.push({ name: 'LLMRouter', models, questions: rows.map(({ task, scores }) => ({ topic: task, scores: models.map((model) => scores[model]!) })) })
  }
  return found
}

const lines = (file: string): string[] => readFileSync(file, 'utf8').split('\n').filter((line) => line !== '')

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

/** Deviation of the mean. */
export const errorOf = (values: readonly number[]): number => {
  const middle = mean(values)
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)) / Math.max(1, values.length - 1))
}
