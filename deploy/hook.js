// Starts the container hook. The runner starts this file by its own Node.js, at an absolute path:
// no step can put another program in its place, as it can with `bash` for hook.sh.
'use strict';

const { spawn } = require('node:child_process');
const { constants } = require('node:os');
const { join } = require('node:path');

// The runner's PATH begins with what steps have added to GITHUB_PATH.
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

let hook;
// The runner cancels a step by signals to this process alone.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => hook.kill(signal));
}

hook = spawn(join(__dirname, 'ephemon-hook'), process.argv.slice(2), {
  // The hook ends with the process of this number.
  env: { ...process.env, PATH, EPHEMON_HOOK_STARTER: String(process.pid) },
  stdio: 'inherit',
});
hook.on('error', (error) => {
  console.log(`::error::the container hook cannot be started: ${error.message}`);
  process.exitCode = 1;
});
hook.on('exit', (code, signal) => {
  process.exitCode = signal === null ? code : 128 + constants.signals[signal];
});
