#!/bin/bash
# Figures of the container runtime beside those of crun and runc.
