/**
 * What people ordinarily write to a model, from all over: the mean of their embeddings is what every text has in common, and is
 * taken away before texts are compared with a few examples (labels-by-example.ts). Thirty are as good as a thousand: on the
 * episodes of training/label-examples.ts recall of new labels changes by less than a point. Written for this project.
 */
export const ORDINARY_TEXTS: readonly string[] = [
  'Why does my function return undefined when I call it twice?',
  'Write a short poem about the first snow of the year.',
  'What is the difference between a virus and a bacterium?',
  'Please summarise the following article in three sentences.',
  'A train leaves at noon and travels 80 miles an hour; when does it arrive?',
  'How do I get a red wine stain out of a white shirt?',
  'Translate this paragraph into Spanish.',
  'Who signed the treaty, and what did it change?',
  'Could you book a table for four people on Saturday evening?',
  'My order has not arrived and nobody answers the phone.',
  'thanks, that is all for today',
  'Plan a week in Portugal with two small children.',
  'Is the contract still valid if one of the parties dies?',
  'What should I eat before running a long race?',
  'Make this e-mail to my landlord sound friendlier.',
  'no, the other one, please',
  'Turn off the lights in the kitchen and set an alarm for six.',
  'Explain supply and demand with an example from everyday life.',
  'The build fails on the server but works on my machine.',
  'Give me five names for a small bakery.',
  'How are you today?',
  'Find the derivative of x squared times the sine of x.',
  'What did the philosopher mean by that sentence?',
  'Search the folder for the newest report and send it to me.',
  'I want to change my password but the link does not work.',
  'How long does the battery last, and can it be replaced?',
  'Which of these statements about cells is true?',
  'Compare the two offers in a table and recommend one.',
  'Tell me a joke about cats.',
  'Why do I feel nervous before every exam?',
  'The patient has a fever and a cough; what could it be?',
  'yes, go on',
]
