#!/usr/bin/env escript
%% Drives the port `tts` as voxmlx does: {packet, 4}, JSON. Speaks, interrupts itself, stops, and is refused once.
%% Arguments: a file for the audio of the text that was spoken to its end (f32le), then the command of the port.
-mode(compile).

-define(LONG, "This sentence is spoken at the pace of a person, so that something comes in its middle.").

main([File, Program | Args]) ->
    Port = open_port({spawn_executable, Program}, [{args, Args}, {packet, 4}, binary, exit_status]),
    <<"ready">> = event(hear(Port)),
    say(Port, "{\"cmd\": \"start_session\", \"session_id\": \"erlang\"}"),
    <<"session_started">> = event(hear(Port)),
    speak(Port, ?LONG),
    <<"audio_chunk">> = event(hear(Port)),
    speak(Port, "Hello from Erlang."), % in the place of the first
    ok = file:write_file(File, until_done(Port, [])),
    speak(Port, ?LONG),
    <<"audio_chunk">> = event(hear(Port)),
    say(Port, "{\"cmd\": \"stop_session\", \"session_id\": \"erlang\"}"),
    ok = until_stopped(Port),
    speak(Port, "Nobody says this."),
    <<"error">> = event(hear(Port)),
    say(Port, "{\"cmd\": \"shutdown\", \"session_id\": \"_\"}"),
    <<"bye">> = event(hear(Port)),
    receive {Port, {exit_status, Code}} -> halt(Code) after 10000 -> halt(3) end.

speak(Port, Text) -> say(Port, ["{\"cmd\": \"speak_text\", \"session_id\": \"erlang\", \"text\": \"", Text, "\"}"]).

until_done(Port, Audio) ->
    Message = hear(Port),
    case event(Message) of
        <<"session_done">> -> lists:reverse(Audio);
        <<"audio_chunk">> ->
            Piece = base64:decode(field(<<"pcm_b64">>, Message)),
            case re:run(Message, "\"seq\":0,") of
                {match, _} -> until_done(Port, [Piece]); % a text begins: what came before was the one it replaced
                nomatch -> until_done(Port, [Piece | Audio])
            end
    end.

until_stopped(Port) ->
    case event(hear(Port)) of
        <<"audio_chunk">> -> until_stopped(Port); % on its way before the stop
        <<"session_stopped">> -> ok
    end.

say(Port, Message) -> true = port_command(Port, Message).

hear(Port) ->
    receive
        {Port, {data, Message}} -> Message;
        {Port, {exit_status, Code}} -> halt(10 + Code)
    after 60000 -> halt(2)
    end.

event(Message) -> field(<<"event">>, Message).

field(Name, Message) ->
    {match, [Value]} = re:run(Message, [$", Name, "\":\"([^\"]*)\""], [{capture, all_but_first, binary}]),
    Value.
