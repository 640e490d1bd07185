"""lagent's IPythonInterpreter as far as the model can tell, run in the conversation's sandbox instead of in this process.

Description and parameters are lagent's own, read from its class. Files are told by their names in the work folder: a path of this
machine is nothing for a model or a recording. Knows nothing of how code is isolated.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lagent.actions.ipython_interpreter import IPythonInterpreter

from demos.agent.tools.actions import Action, ActionReturn, ActionStatusCode, tool_api
from demos.agent.tools.workplace import CodeSession, ToolFailure, Workplace, this_call

SECONDS, MOST_SECONDS = 20, 60
_FENCED = re.compile(r"\s*```[^\n`]*\n(.*?)(?:\n```)?\s*", re.DOTALL)


class Interpreter(Action):
    __doc__ = IPythonInterpreter.__doc__

    def __init__(self, workplace: Workplace) -> None:
        super().__init__(workplace, IPythonInterpreter.__tool_description__)

    def run(self, command: str, timeout: int | None = None) -> Any:
        session = self.workplace.session
        if session is None:
            raise ToolFailure("Code cannot run here: there is no sandbox.", "Answer without running code.")
        call, seconds = this_call(), max(1, min(timeout or SECONDS, MOST_SECONDS))
        result = session.run(code_of(command), timeout=seconds, on_output=call.on_output, cancel=call.cancel)
        error = str(result.error or "")
        text = result.text if error in result.text else f"{result.text}\n{error}"  # a traceback usually ends with it
        given = [{"type": "text", "content": text}]
        given += [{"type": "image", "content": image} for image in result.images]
        given += [{"type": "file", "content": name_in(session, file)} for file in result.files]
        state = ActionStatusCode.API_ERROR if error else ActionStatusCode.SUCCESS
        return ActionReturn(type=self.name, result=given, errmsg=text if error else None, state=state)

    run.__doc__ = IPythonInterpreter.run.__doc__
    run = tool_api(run)


def name_in(session: CodeSession, file: Path) -> str:
    """The name of a result's file in the work folder; a session gives copies, or names."""
    return session.name_of(file) if file.is_absolute() else file.as_posix()


def code_of(command: str) -> str:
    """The code in a Markdown fence that is all there is; otherwise the text as it stands, backticks and all."""
    found = _FENCED.fullmatch(command)
    return found[1] if found else command
