import { check } from './check.ts'
import type { Command } from './command.ts'
import { evaluate } from './evaluate.ts'
import { expertise } from './expertise.ts'
import { explain } from './explain.ts'
import { fingerprint } from './fingerprint.ts'
import { replay } from './replay.ts'
import { serve } from './serve.ts'
import { simulate } from './simulate.ts'
import { taxonomy } from './taxonomy.ts'

/** Every command, in the order of the help. Heavy rooms are imported inside a command's `run`. */
export const COMMANDS: readonly Command[] = [serve, check, explain, expertise, evaluate, replay, simulate, fingerprint, taxonomy]
