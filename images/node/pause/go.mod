// The process that holds a pod's namespaces: a dozen lines, so that no C compiler is needed for it.
module understudy.local/pause

go 1.24.0
