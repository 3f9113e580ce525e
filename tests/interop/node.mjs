// A foreign peer in Node: `node node.mjs STACK OPTIONS` with the stack `werift` or `wrtc` and the options of
// session.js as JSON. Prints its result as JSON.

import { run } from './session.js';

const [stack, options] = process.argv.slice(2);
const { default: implementation } = await import(`./stack_${stack}.mjs`);
console.log(JSON.stringify(await run(JSON.parse(options), implementation)));
process.exit(0);
