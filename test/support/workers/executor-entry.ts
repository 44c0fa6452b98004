import { serveJobs } from '../../../src/worker/serve.ts'
import { openTestEnv, testJobs } from './executor-jobs.ts'

serveJobs(async () => testJobs, openTestEnv)
