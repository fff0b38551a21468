# Runs the extension's own CMakeLists.txt in CMake's script mode and makes the flat folder that Slicer would install:
#   cmake -DSOURCE=<repository> -DTREE=<new folder> -P install_tree.cmake
# Slicer's side, and what script mode does not know, is stood in for; the extension's files run unmodified.
# The stand-in for slicerMacroBuildScriptedModule copies what Slicer's macro copies, and refuses what it refuses.

set(CMAKE_SOURCE_DIR ${SOURCE})
set(PROJECT_SOURCE_DIR ${SOURCE})
set(CMAKE_BINARY_DIR ${TREE})
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR qt-scripted-modules)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_VERSION 5.12.0)
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)

macro(project name)
  set(PROJECT_NAME ${name})
endmacro()

macro(find_package name)
  if(NOT "${name}" STREQUAL Slicer)
    message(FATAL_ERROR "the extension asks for ${name}")
  endif()
endmacro()

macro(add_subdirectory folder)
  set(CMAKE_CURRENT_SOURCE_DIR ${SOURCE}/${folder})
  include(${CMAKE_CURRENT_SOURCE_DIR}/CMakeLists.txt)
  set(CMAKE_CURRENT_SOURCE_DIR ${SOURCE})
endmacro()

function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT MY_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  foreach(file IN LISTS MY_SCRIPTS MY_RESOURCES)
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "slicerMacroBuildScriptedModule given nonexistent file '${file}'")
    endif()
    configure_file(
      ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${TREE}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${file} COPYONLY)
  endforeach()
endfunction()

function(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "slicer_add_python_unittest: '${MY_SCRIPT}' ${MY_UNPARSED_ARGUMENTS}")
  endif()
  message(STATUS "UNITTEST=${MY_SCRIPT}")
endfunction()

set(BUILD_TESTING ON)
set(CMAKE_CURRENT_SOURCE_DIR ${SOURCE})
include(${SOURCE}/CMakeLists.txt)

foreach(field HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if(NOT EXTENSION_${field})
    message(FATAL_ERROR "EXTENSION_${field} is empty")
  endif()
  message(STATUS "EXTENSION_${field}=${EXTENSION_${field}}")
endforeach()
