export const intentExamples=(d:string):{text:string,label:string}[]=>[]
export const topicExamples=intentExamples
export const sgdDialogues=(d:string):{speaker:'user'|'assistant',text:string,label:string}[][]=>[]
