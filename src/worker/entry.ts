import { openWorkerEnv } from '../core/worker-env.ts'
import { loadModule } from '../util/load-module.ts'
import { serveJobs } from './serve.ts'

/** Entry point of a worker thread. The handlers are loaded with the first job. */
serveJobs(async (setup) => (await loadModule(() => import('../core/jobs.ts'))).handlersFor(setup), openWorkerEnv)
