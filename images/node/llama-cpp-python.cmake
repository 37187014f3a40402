# CMake reads this file where llama.cpp's own project begins. Its `common` library serves its own programs, which no node
# runs, and takes half of the build. llama-cpp-python writes the option into the cache, so only a variable overrides it.
set(LLAMA_BUILD_COMMON OFF)
