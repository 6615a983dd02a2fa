// Writes the job's timeline to its summary page. For ACTIONS_RUNNER_HOOK_JOB_COMPLETED: the runner
// starts this file as it starts hook.js.
'use strict';

process.argv.push('--job-summary');
require('./hook.js');
// A job whose job completed hook fails has failed.
process.on('exit', () => {
  process.exitCode = 0;
});
