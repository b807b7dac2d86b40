// What a newcomer sees when the gateway is ready: its address and two turns to paste into a shell.
import { askModels } from '../engine/probe.mjs'

/** @param {string} url @param {string} fleet what answers behind the gateway, for people */
export async function howToTry(url, fleet) {
  const model = (await askModels(url, 2000))?.[0] ?? 'MODEL'
  return `
Homing is ready at ${url}   (OpenAI base URL: ${url}/v1)
Behind it: ${fleet}.

Try two turns. The second continues the first by its id; look for x-homing-backend and cached_tokens:

  id=$(curl -s ${url}/v1/responses -H 'content-type: application/json' \\
    -d '{"model":"${model}","max_output_tokens":24,"input":"My name is Ada. Name one fact about Paris."}' \\
    | grep -o '"id": *"resp_[^"]*"' | head -n 1 | cut -d '"' -f 4)

  curl -si ${url}/v1/responses -H 'content-type: application/json' \\
    -d '{"model":"${model}","max_output_tokens":24,"previous_response_id":"'$id'","input":"And one about Rome?"}'

Look at it, and talk to it, in a browser: ${url}/homing/

More: npm run demo.   End: Ctrl-C.

`
}
