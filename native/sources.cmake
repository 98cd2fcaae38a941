# The files and flags of everything that is built from native/: the addon, the test programs and the benchmarks include
# this. The list of files is sources.json, which binding.gyp reads too.
#
# MASK_PREDICT_cpu (with the system's own), _avx2, _avx512 and _cuda are the files, with their flags set for the including folder;
# mask_predict_emulate(FILE...) makes CUDA files plain C++ and MASK_PREDICT_simt the emulated device's own files.
cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH MASK_PREDICT_ROOT)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/sources.json)
file(READ ${CMAKE_CURRENT_LIST_DIR}/sources.json sources)
foreach(group cpu posix linux macos windows avx2 avx512 cuda)
  set(MASK_PREDICT_${group})
  string(JSON count LENGTH ${sources} ${group})
  math(EXPR last "${count}-1")
  foreach(i RANGE ${last})
    string(JSON file GET ${sources} ${group} ${i})
    list(APPEND MASK_PREDICT_${group} ${MASK_PREDICT_ROOT}/${file})
  endforeach()
endforeach()
# Each system has files of its own for the same functions.
if(WIN32)
  list(APPEND MASK_PREDICT_cpu ${MASK_PREDICT_windows})
elseif(APPLE)
  list(APPEND MASK_PREDICT_cpu ${MASK_PREDICT_posix} ${MASK_PREDICT_macos})
else()
  list(APPEND MASK_PREDICT_cpu ${MASK_PREDICT_posix} ${MASK_PREDICT_linux})
endif()
# Without the addon, for programs that need no Node.
set(MASK_PREDICT_engine ${MASK_PREDICT_cpu})
list(FILTER MASK_PREDICT_engine EXCLUDE REGEX "/native/addon/")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
find_package(Threads REQUIRED)
find_program(MASK_PREDICT_CCACHE ccache)
if(MASK_PREDICT_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER AND NOT DEFINED ENV{CMAKE_CXX_COMPILER_LAUNCHER})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${MASK_PREDICT_CCACHE})
endif()

# Sums are contracted only where the code says so: a compiler's choice could differ between two copies of a loop,
# and with it a row's bits between two batches.
set(MASK_PREDICT_FLAGS -fno-math-errno -ffp-contract=off)
set(MASK_PREDICT_WARNINGS -Wall -Wextra -Wconversion -Werror)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(${MASK_PREDICT_avx2} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
  # GCC 12 takes intrinsics' undefined inputs for uninitialized variables
  set_source_files_properties(${MASK_PREDICT_avx512} PROPERTIES COMPILE_OPTIONS
    "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mfma;-mf16c;-Wno-uninitialized;-Wno-maybe-uninitialized")
endif()

# native/simt is not in the package, so this fails there.
function(mask_predict_emulate)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++;-Wno-unknown-pragmas")
endfunction()
file(GLOB MASK_PREDICT_simt ${CMAKE_CURRENT_LIST_DIR}/simt/*.cpp)
